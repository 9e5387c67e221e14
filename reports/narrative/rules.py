"""What a report says in words, written from the numbers by plain rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reports.facts.session_view import (
    ModelQuality,
    TrainingCurve,
    curve_metrics,
    model_quality,
    time_span,
    training_curve,
)
from reports.formatting import (
    clean,
    format_count,
    format_day,
    format_duration,
    format_number,
    format_share,
    humanize,
)

JSON = dict[str, Any]

RULES = "Written from the numbers by fixed rules."
_FEW_HELD_OUT = 50
_LEARNT_BY_HEART = 0.10
_STILL_FALLING = 0.01


@dataclass(frozen=True)
class Narrative:
    """The words of a report.

    Parameters
    ----------
    summary, dynamics, steps : list of str
        Sentences of the executive summary and of the training's course; advice what to do next.
    author : str
        Who wrote it and how it was checked.
    """

    summary: list[str]
    dynamics: list[str]
    steps: list[str]
    author: str = RULES


def write_narrative(facts: JSON) -> Narrative:
    """The words for a session, whatever its end."""
    scores, run = model_quality(facts), training_curve(facts)
    return Narrative(
        [*_outcome(facts), *(_quality(scores) if scores else []), *_notes(facts)],
        list(_course(facts, run)),
        list(_advice(facts, scores, run)),
    )


def _outcome(facts: JSON) -> Iterator[str]:
    session, data = facts["session"], facts["manifest"] or {}
    model, state = clean(session["model"]), session["state"]
    if session["details"].get("items"):
        yield f"Session {session['id']} trained a fleet: {clean(session['message'])}."
        return
    if state in ("completed", "rejected"):
        yield f"Session {session['id']} trained {model}{_on_rows(facts, data)}."
        yield _verdict(session)
        if not data:
            yield "Its files are no longer there, so this report is short."
        return
    word = {"failed": "failed", "cancelled": "was cancelled", "interrupted": "was interrupted"}[state]
    yield f"Session {session['id']} of {model} {word} after {format_duration(session['training_time_seconds'])}."
    if session["message"]:
        yield _sentence(session["message"])
    yield "Data and models are as they were before the session."


def _sentence(told: str) -> str:
    text = clean(told).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _on_rows(facts: JSON, data: JSON) -> str:
    span = time_span(facts)
    rows = f" on {format_number(data['rows'])} rows" if data.get("rows") else ""
    return rows + (f" from {format_day(span[0])} to {format_day(span[1])}" if span else "")


def _verdict(session: JSON) -> str:
    version = session["version"]
    if session["promoted"]:
        return f"Its version {version} was promoted: it answers predictions from the end of this session on."
    return f"Its version {version} was not promoted: the model that served before goes on answering."


def _quality(scores: ModelQuality) -> Iterator[str]:
    if scores.value is None:
        yield "Its quality could not be measured on held-out data."
        return
    held = f"On {format_number(scores.held_out)} held-out samples its {scores.metric} is {scores.said(scores.value)}"
    best = scores.best_baseline
    if best is None:
        yield f"{held}."
    elif scores.beats_baselines:
        by = _by(scores, scores.value, best[1])
        yield f"{held}, {by}better than the best simple rule, {humanize(best[0])} ({scores.said(best[1])})."
    else:
        yield f"{held}. It does not beat the simple rule {humanize(best[0])}, which has {scores.said(best[1])}."
    if scores.champion is not None:
        yield _beside_champion(scores, scores.value, scores.champion)


def _notes(facts: JSON) -> Iterator[str]:
    """What a family says of its data beside the figures, such as how far the split can be trusted."""
    told = (facts["manifest"] or {}).get("facts") or {}
    yield from (_sentence(v) for k, v in told.items() if k.endswith("_note") and isinstance(v, str) and v)


def _by(scores: ModelQuality, value: float, other: float) -> str:
    """By what share one is better or worse than the other, where that can be said."""
    gain = scores.gain(value, other)
    return f"{format_share(abs(gain / other))} " if other and gain else ""


def _beside_champion(scores: ModelQuality, value: float, champion: float) -> str:
    gain = scores.gain(value, champion)
    word = "better than" if gain > 0 else "worse than" if gain < 0 else "the same as"
    by = _by(scores, value, champion)
    return f"On the same samples that is {by}{word} the model that served before ({scores.said(champion)})."


def _course(facts: JSON, run: TrainingCurve | None) -> Iterator[str]:
    session = facts["session"]
    if session["details"].get("items"):
        return
    if run is None:
        if facts["manifest"]:
            yield "Models of this family are fitted in one step, so there is no course of epochs to follow."
        elif facts["stages"] and session["state"] not in ("completed", "rejected"):
            yield f"The last thing the session announced was the stage “{clean(_last_stage(facts))}”."
    else:
        yield from _epochs(run, kept=facts["manifest"] is not None)
    seconds = (facts["manifest"] or {}).get("seconds") or {}
    if seconds:
        longest = max(seconds, key=lambda stage: seconds[stage])
        whole, part = format_duration(session["training_time_seconds"]), format_duration(seconds[longest])
        yield f"The session took {whole}; its longest stage was “{longest}” with {part}."


def _last_stage(facts: JSON) -> str:
    stages = [event["stage"] for event in facts["stages"] if event["stage"] != "end"]
    return str(stages[-1]) if stages else "queued"


def _epochs(run: TrainingCurve, *, kept: bool) -> Iterator[str]:
    first, last, best = run.epochs[0], run.epochs[-1], run.epochs[run.best]
    count = last.get("epoch") or len(run.epochs)
    losses = run.losses("train_loss")
    watched = run.losses("val_loss")
    if len(losses) == 1:
        beside = f", the validation loss {format_number(watched[0])}" if watched else ""
        yield f"In its one epoch the training loss was {format_number(losses[0])}{beside}."
        return
    yield f"In {format_count(count, 'epoch')} the training loss {_went(losses[0], losses[-1])}."
    if watched:
        word, weights = _went(watched[0], min(watched)), ", whose weights were kept" if kept else ""
        yield f"The validation loss {word} in epoch {format_number(best.get('epoch'))}{weights}."
    for told in curve_metrics(run):
        values = run.losses(f"val_{told}") or run.losses(f"train_{told}")
        if values:
            then = best.get(f"val_{told}", best.get(f"train_{told}"))
            yield f"The {humanize(told)} began at {format_number(values[0])} and is {format_number(then)} in the best epoch."
    if run.judged_by == "val_loss" and run.rise_after_best > _LEARNT_BY_HEART:
        yield (
            f"After its best epoch the validation loss rose by {format_share(run.rise_after_best)} up to the end: "
            "the network had begun to learn the training data by heart."
        )
    elif _is_still_falling(first, run):
        yield "The loss was still falling in the last epoch."
    if run.stopped:
        yield f"The training ended with {clean(run.stopped)}."


def _went(start: float, end: float) -> str:
    word = "fell" if end < start else "rose" if end > start else "stayed"
    return (
        f"{word} from {format_number(start)} to {format_number(end)}"
        if word != "stayed"
        else f"stayed at {format_number(end)}"
    )


def _is_still_falling(first: JSON, run: TrainingCurve) -> bool:
    losses = run.losses(run.judged_by)
    if len(losses) < 4 or run.best != len(run.epochs) - 1:
        return False
    recent = losses[-2] - losses[-1]
    return recent > _STILL_FALLING * max(losses[0] - losses[-1], 1e-12)


def _advice(facts: JSON, scores: ModelQuality | None, run: TrainingCurve | None) -> Iterator[str]:
    session = facts["session"]
    found = [
        *_after_failure(session),
        *_after_rejection(session),
        *(_of_quality(scores) if scores else []),
        *(_of_course(run) if run and session["state"] in ("completed", "rejected") else []),
        *_of_warnings(session),
    ]
    yield from found or ["Nothing needs to be done. Train again when new data has come in."]


def _after_failure(session: JSON) -> Iterator[str]:
    code, again = (session["error"] or {}).get("code"), f"POST /train/sessions/{session['id']}/retry"
    if session["state"] == "interrupted":
        yield f"{again} starts the same training again; its records were kept."
    elif session["state"] == "cancelled":
        yield "Start the training again when it is wanted; its records were not kept."
    elif session["state"] == "failed":
        yield {
            "not_enough_data": "Collect more data and train again; the message names how much is needed.",
            "disk_full": f"Free some space, then {again}.",
            "data_file_invalid": f"Mend the line that the message names, then {again}.",
            "leaky_split": "Report this to whoever maintains the model family: its split is not clean.",
            "parity_failed": "Report this to whoever maintains the model family: the saved model differs.",
        }.get(str(code), f"Remove the cause that the message names, then {again}.")
    items = session["details"].get("items") or []
    failed = sum(item.get("state") == "failed" for item in items)
    if failed:
        yield f"{format_number(failed)} of {format_number(len(items))} models failed: the table below says why for each."
    weak = session["details"].get("no_better_than_baselines") or 0
    if weak:
        yield (
            f"Do not rely on {format_number(weak)} of the promoted models alone: simple rules are at least as good "
            "on held-out data. Look at what each misses, and try other options or another algorithm for it."
        )


def _after_rejection(session: JSON) -> Iterator[str]:
    if session["state"] != "rejected" or session["details"].get("items"):
        return
    undo = f"POST /train/undo/{session['id']}"
    if any("contradict" in reason for reason in session["reasons"]):
        yield f"Check the records that the gate names. Where they are wrong, {undo} takes them out again."
    elif session["records_added"]:
        yield "The new records are kept and take part in the next training; nothing has to be sent again."
    else:
        yield "Change the options or add data before the next try: the same again would be judged the same."


def _of_quality(scores: ModelQuality) -> Iterator[str]:
    if not scores.beats_baselines:
        yield (
            "Do not rely on this model alone yet: a simple rule is at least as good. "
            "More data, or data that tells more, is the usual remedy."
        )
    if 0 < scores.held_out < _FEW_HELD_OUT:
        yield (
            f"Only {format_number(scores.held_out)} samples were held out: "
            "take the figures as a first impression, and compare again with more data."
        )


def _of_course(run: TrainingCurve) -> Iterator[str]:
    if run.judged_by == "val_loss" and run.rise_after_best > _LEARNT_BY_HEART:
        yield "Try more regularisation (dropout, weight decay), a smaller network, or more training data."
    elif _is_still_falling(run.epochs[0], run):
        yield "Allow more epochs: the loss had not levelled out."


def _of_warnings(session: JSON) -> Iterator[str]:
    if session["warnings"]:
        yield f"Look at the {format_count(len(session['warnings']), 'warning')} at the end of this report."
