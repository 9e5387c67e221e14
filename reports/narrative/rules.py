"""The sentences of a report, written from the numbers by fixed rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.facts.session_facts import ModelQuality, SessionFacts, SessionRow, TrainingCurve, is_number
from reports.formatting import (
    clean,
    format_count,
    format_day,
    format_duration,
    format_number,
    format_share,
    humanize,
)
from storage.models.figures import Figure

RULES_AUTHOR = "Written from the numbers by fixed rules."
# With fewer held-out samples, the error of a headline metric itself is easily tens of percent.
FEW_HELD_OUT = 50
OVERFITTING_RISE = 0.10
# Differences below a tenth are within what a few hundred test samples tell apart.
VALIDATION_GAP = 0.10
CALIBRATION_GAP = 0.10
# Errors of a few windows vary by tens of percent.
VALIDATION_ERROR_RATIO = 1.5
STILL_FALLING_SHARE = 0.01
_AFTER_FAILURE = {
    "not_enough_data": "Collect more data and train again; the message names how much is needed.",
    "disk_full": "Free some space, then {retry}.",
    "data_file_invalid": "Repair the line that the message names, then {retry}.",
    "leaky_split": "Report this to whoever maintains the model family: its split is not clean.",
    "parity_failed": "Report this to whoever maintains the model family: the saved model differs.",
}


@dataclass(frozen=True)
class Narrative:
    """The sentences of a report.

    Parameters
    ----------
    summary, dynamics, steps : list of str
        Sentences of the executive summary, of the course of the training, and advice on what to do next.
    author : str
        Who wrote them and how they were checked.
    """

    summary: list[str]
    dynamics: list[str]
    steps: list[str]
    author: str = RULES_AUTHOR


def write_by_rules(view: SessionFacts) -> Narrative:
    """Return the sentences for a session in any end state."""
    quality = view.quality
    notes = (
        _sentence(v) for k, v in view.data_facts.items() if k.endswith("_note") and isinstance(v, str) and v
    )
    return Narrative(
        [*_outcome(view), *(_describe_quality(quality) if quality else []), *notes],
        list(_course(view)),
        list(_advice(view)) or ["Nothing needs to be done. Train again when new data has come in."],
    )


def _outcome(view: SessionFacts) -> Iterator[str]:
    session = view.session
    model, state, version = clean(session["model"]), session["state"], session["version"]
    if view.items:
        yield f"Session {session['id']} trained several models: {clean(session['message'])}."
    elif state in ("completed", "rejected"):
        rows = f" on {format_number(view.manifest['rows'])} rows" if view.manifest.get("rows") else ""
        if span := view.time_span:
            rows += f" from {format_day(span[0])} to {format_day(span[1])}"
        yield f"Session {session['id']} trained {model}{rows}."
        if session["promoted"]:
            yield f"Its version {version} was promoted: it answers predictions from the end of this session on."
        else:
            yield f"Its version {version} was not promoted: the previous model keeps serving."
        yield from map(_sentence, view.quarantine)
        if not view.manifest:
            yield "Its files are no longer there, so this report is short."
    else:
        word = {"failed": "failed", "cancelled": "was cancelled", "interrupted": "was interrupted"}[state]
        duration = format_duration(session["training_time_seconds"])
        yield f"Session {session['id']} of {model} {word} after {duration}."
        if session["message"]:
            yield _sentence(session["message"])
        yield "Data and models are as they were before the session."


def _sentence(text: str) -> str:
    stripped = clean(text).strip()
    return stripped if stripped.endswith((".", "!", "?")) else f"{stripped}."


def _describe_quality(quality: ModelQuality) -> Iterator[str]:
    value, best = quality.value, quality.best_baseline
    if value is None:
        yield "Its quality could not be measured on held-out data."
        return
    units = format_count(quality.held_out, f"held-out {quality.held_out_unit}")
    start = f"On {units} its {quality.metric} is {quality.format(value)}"
    if best is None:
        yield f"{start}."
    elif quality.beats_baselines:
        by = _relative_difference(quality, value, best[1])
        rule = f"{humanize(best[0])} ({quality.format(best[1])})"
        yield f"{start}, {by}better than the best simple rule, {rule}."
    else:
        yield f"{start}. It does not beat the simple rule {humanize(best[0])}, which has {quality.format(best[1])}."
    if quality.champion is not None:
        gain = quality.gain(value, quality.champion)
        word = "better than" if gain > 0 else "worse than" if gain < 0 else "the same as"
        by, before = _relative_difference(quality, value, quality.champion), quality.format(quality.champion)
        yield f"On the same {quality.held_out_unit}s that is {by}{word} the previous model ({before})."


def _relative_difference(quality: ModelQuality, value: float, other: float) -> str:
    """Return the relative difference of two values with a blank behind it; empty where there is none."""
    gain = quality.gain(value, other)
    return f"{format_share(abs(gain / other))} " if other and gain else ""


def _course(view: SessionFacts) -> Iterator[str]:
    session, curve = view.session, view.curve
    if view.items:
        return
    if curve is not None:
        yield from _describe_epochs(curve, has_version=bool(view.manifest))
    elif view.manifest:
        yield "Models of this family are fitted in one step, so there is no course of epochs to follow."
    elif view.stages and session["state"] not in ("completed", "rejected"):
        stages = [stage["stage"] for stage in view.stages if stage["stage"] != "end"] or ["queued"]
        yield f"The last stage that the session announced was “{clean(stages[-1])}”."
    if seconds := view.manifest.get("seconds"):
        longest = max(seconds, key=lambda stage: seconds[stage])
        total, part = format_duration(session["training_time_seconds"]), format_duration(seconds[longest])
        yield f"The session took {total}; its longest stage was “{longest}” with {part}."


def _describe_epochs(curve: TrainingCurve, *, has_version: bool) -> Iterator[str]:
    last, best = curve.epochs[-1], curve.epochs[curve.best]
    losses, val_losses = curve.values("train_loss"), curve.values("val_loss")
    if len(losses) == 1:
        validation = f", the validation loss {format_number(val_losses[0])}" if val_losses else ""
        yield f"In its one epoch the training loss was {format_number(losses[0])}{validation}."
        return
    epochs = format_count(int(last.get("epoch") or len(curve.epochs)), "epoch")
    yield f"In {epochs} the training loss {_change(losses[0], losses[-1])}."
    if val_losses:
        weights = ", whose weights were kept" if has_version else ""
        change, epoch = _change(val_losses[0], min(val_losses)), format_number(best.get("epoch"))
        yield f"The validation loss {change} in epoch {epoch}{weights}."
    for metric in curve.metrics:
        values = curve.values(f"val_{metric}") or curve.values(f"train_{metric}")
        if values:
            at_best = best.get(f"val_{metric}", best.get(f"train_{metric}"))
            start, end = format_number(values[0]), format_number(at_best)
            yield f"The {humanize(metric)} began at {start} and is {end} in the best epoch."
    if _overfits(curve):
        is_falling = losses[-1] < losses[curve.best]
        sign = ", while the training loss fell: a sign of overfitting" if is_falling else ""
        yield (
            f"After its best epoch the validation loss rose by {format_share(curve.rise_after_best)} up to "
            f"the end{sign}."
        )
    elif _is_still_falling(curve):
        yield "The loss was still falling in the last epoch."
    if curve.stopped:
        yield f"The training ended with {clean(curve.stopped)}."


def _change(start: float, end: float) -> str:
    if start == end:
        return f"stayed at {format_number(end)}"
    return f"{'fell' if end < start else 'rose'} from {format_number(start)} to {format_number(end)}"


def _overfits(curve: TrainingCurve) -> bool:
    return curve.selection_loss == "val_loss" and curve.rise_after_best > OVERFITTING_RISE


def _is_still_falling(curve: TrainingCurve) -> bool:
    losses = curve.values(curve.selection_loss)
    if len(losses) < 4 or curve.best != len(curve.epochs) - 1:
        return False
    return losses[-2] - losses[-1] > STILL_FALLING_SHARE * max(losses[0] - losses[-1], 1e-12)


def _advice(view: SessionFacts) -> Iterator[str]:
    session, quality, curve = view.session, view.quality, view.curve
    yield from _advice_after_failure(session)
    yield from _advice_for_batch(view)
    if session["state"] == "rejected" and not view.items:
        yield _advice_after_rejection(session)
    if quality is not None:
        yield from _advice_on_quality(quality)
        yield from _advice_on_test_data(view)
    if curve is not None and session["state"] in ("completed", "rejected"):
        if _overfits(curve):
            yield "Try more regularisation (dropout, weight decay), a smaller network, or more training data."
        elif _is_still_falling(curve):
            yield "Allow more epochs: the loss had not levelled out."
    if session["warnings"]:
        yield f"Look at the {format_count(len(session['warnings']), 'warning')} at the end of this report."


def _advice_after_failure(session: SessionRow) -> Iterator[str]:
    retry = f"POST /train/sessions/{session['id']}/retry"
    if session["state"] == "interrupted":
        yield f"{retry} starts the same training again; its records were kept."
    elif session["state"] == "cancelled":
        yield "Start the training again when it is wanted; its records were not kept."
    elif session["state"] == "failed":
        code = str((session["error"] or {}).get("code"))
        default = "Remove the cause that the message names, then {retry}."
        yield _AFTER_FAILURE.get(code, default).format(retry=retry)


def _advice_for_batch(view: SessionFacts) -> Iterator[str]:
    if failed := sum(item.get("state") == "failed" for item in view.items):
        total = format_number(len(view.items))
        yield f"{format_number(failed)} of {total} models failed: the table below says why for each."
    if weak := view.session["details"].get("no_better_than_baselines"):
        yield (
            f"Do not rely on {format_number(weak)} of the promoted models alone: simple rules are at least as "
            "good on held-out data. Look at what each misses, and try other options or another algorithm."
        )


def _advice_after_rejection(session: SessionRow) -> str:
    if any("contradict" in reason for reason in session["reasons"]):
        undo = f"POST /train/undo/{session['id']}"
        return f"Check the records that the gate names. Where they are wrong, {undo} takes them out again."
    if session["details"].get("quarantined"):
        return (
            f"Check the new records. POST /train/sessions/{session['id']}/accept learns them as they are, "
            f"POST /train/undo/{session['id']} takes them out, and a corrected record sent under the same id "
            "replaces the one that waits."
        )
    if session["records_added"]:
        return "The new records are kept and take part in the next training; nothing has to be sent again."
    return "Change the options or add data before the next try: the same again would be judged the same."


def _advice_on_test_data(view: SessionFacts) -> Iterator[str]:
    """Yield advice on what the headline hides: overoptimistic validation, classes, probabilities."""
    metrics = view.manifest["metrics"]["metrics"]
    curve = view.curve
    for name in curve.metrics if curve is not None else ():
        best, test = curve.epochs[curve.best].get(f"val_{name}") if curve else None, metrics.get(name)
        if is_number(best) and is_number(test) and best - test > VALIDATION_GAP:
            yield (
                f"The {humanize(name)} is {format_number(best)} on validation data and {format_number(test)} on "
                "test data: expect the latter. Training data from more machines or times may help."
            )
    validation, test = metrics.get("validation.mse"), metrics.get("network.mse")
    if is_number(validation) and is_number(test) and test > VALIDATION_ERROR_RATIO * validation:
        yield (
            f"The mean squared error of the network is {format_number(validation)} on validation data and "
            f"{format_number(test)} on test data, which is newer: expect the latter."
        )
    if missed := _classes_never_found(view.manifest.get("figures") or []):
        yield f"No test sample of {', '.join(missed)} was recognised: add more and clearer examples."
    error = metrics.get("calibration_error")
    if is_number(error) and error > CALIBRATION_GAP:
        yield (
            f"Its probabilities are off by {format_share(error)} on average: use them to rank, not as chances."
        )


def _classes_never_found(figures: Sequence[Figure]) -> list[str]:
    missed = []
    for figure in figures:
        if figure["kind"] == "confusion":
            for index, (label, counts) in enumerate(zip(figure["labels"], figure["counts"], strict=True)):
                if sum(counts) and not counts[index]:
                    missed.append(clean(label, 40))
    return missed


def _advice_on_quality(quality: ModelQuality) -> Iterator[str]:
    if not quality.beats_baselines:
        yield (
            "Do not rely on this model alone yet: a simple rule is at least as good. "
            "More data, or more informative data, is the usual remedy."
        )
    if 0 < quality.held_out < FEW_HELD_OUT:
        yield (
            f"Only {format_count(quality.held_out, quality.held_out_unit)} "
            f"{'was' if quality.held_out == 1 else 'were'} held out: "
            "take the figures as a first impression, and compare again with more data."
        )
