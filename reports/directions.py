"""Which way a sentence says that something went, and whether the data agrees.

These are rules over English words, sentence by sentence. They know a handful of claims that matter in a
report: promoted or not, ended well or not, better or worse than the model before and than simple rules, how
losses went, learning by heart, and any two numbers that are said to stand in an order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reports.facts.session_view import (
    JSON,
    ModelQuality,
    TrainingCurve,
    curve_metrics,
    model_quality,
    training_curve,
)
from reports.spoken import NUMBER, agrees

_NUM = r"[+\-−]?\d[\d,]*(?:\.\d+)?(?:[eE][+\-−]?\d+)?"
_UP = r"rose|risen|rises|rising|increas\w+|grew|grows|growing|climb\w+|went up|higher|upwards?"
_DOWN = (
    r"fell|fallen|falls|falling|decreas\w+|dropp?\w*|declin\w+|shr[aiu]nk\w*|reduc\w+|went down|lower\w*|"
    r"downwards?|diminish\w+"
)
_BETTER = r"better|improv\w+|outperform\w*|beats?|beaten|surpass\w*|superior|ahead of|stronger"
_WORSE = r"worse\w*|worsen\w*|deteriorat\w+|degrad\w+|underperform\w*|inferior|behind|weaker|loses to|lost to"
_NOT = re.compile(
    r"\b(?:not|no|never|cannot|fail(?:s|ed)? to|without|neither|nor|none|hardly)\b|n[’']t\b", re.IGNORECASE
)
_MAYBE = re.compile(
    r"\b(?:if|should|would|could|may|might|unless|until|whether|when|consider|try|next)\b", re.IGNORECASE
)
_PROMOTION = re.compile(
    r"\b(promot\w+|deployed|accepted|approved|goes live|went live|now (?:serves|answers)|in service|"
    r"rejected|kept back|not adopted)\b",
    re.IGNORECASE,
)
_CHAMPION = (
    r"champion|previous|predecessor|model before|served before|earlier (?:model|version)|existing|incumbent"
)
_GAINS = re.compile(r"\b(?:accuracy|f1|kappa|recall|precision|coverage|r2)\b", re.I)

_FROM_TO = re.compile(rf"\bfrom (?:about |around )?({_NUM})\D{{0,12}}? to (?:about |around )?({_NUM})", re.I)
_ORDER = re.compile(
    rf"({_NUM})(?!\s?(?:%|percent))[^.;\d]{{1,60}}?\b(lower|less|smaller|below|under|higher|greater|larger|above|exceeds?|"
    rf"better|worse)\b[^.;\d]{{1,60}}?({_NUM})",
    re.I,
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+|[\n;]+")


@dataclass(frozen=True)
class Bearings:
    """What the data says of the directions that a text may speak of; None where it says nothing."""

    state: str
    promoted: bool | None
    beats_champion: int | None
    beats_baselines: bool | None
    higher_is_better: bool
    run: TrainingCurve | None
    baseline_names: tuple[str, ...] = ()
    counted: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By unit, as a pattern: the only numbers that may stand before it."""


def bearings_of(facts: JSON) -> Bearings:
    """The directions of a session."""
    scores, run = model_quality(facts), training_curve(facts)
    names = tuple(told.replace("_", " ") for told in scores.baselines) if scores else ()
    return Bearings(
        state=facts["session"]["state"],
        promoted=facts["session"]["promoted"],
        beats_champion=_sign(scores),
        beats_baselines=scores.beats_baselines if scores else None,
        higher_is_better=bool(scores and scores.higher_is_better),
        run=run,
        baseline_names=names,
        counted=dict(_counted(facts, scores, run)),
    )


def _counted(
    facts: JSON, scores: ModelQuality | None, run: TrainingCurve | None
) -> Iterator[tuple[str, Sequence[float]]]:
    if run is not None:
        asked = [
            v for told, v in facts["session"]["options"].items() if "epoch" in told or "patience" in told
        ]
        epochs = [e.get("epoch") or place for place, e in enumerate(run.epochs, 1)]
        best = epochs[run.best]
        counts = [len(run.epochs), best, epochs[-1], epochs[-1] - best, *asked]
        yield "epochs", [float(n) for n in counts if isinstance(n, int)]
    if scores is not None:
        yield r"(?:held-out )?samples", [float(scores.held_out)]
        if facts["manifest"].get("rows") is not None:
            yield "rows", [float(facts["manifest"]["rows"])]
        metrics = (facts["manifest"]["metrics"].get("metrics") or {}).values()
        values = [scores.value, scores.champion, *scores.baselines.values(), *metrics]
        if scores.unit:
            yield re.escape(scores.unit), [float(v) for v in values if isinstance(v, int | float)]


def _sign(scores: ModelQuality | None) -> int | None:
    if scores is None or scores.value is None or scores.champion is None:
        return None
    gain = scores.gain(scores.value, scores.champion)
    return (gain > 0) - (gain < 0)


def wrong_direction(text: str, bearings: Bearings) -> str | None:
    """The first sentence that the data contradicts."""
    for sentence in _SENTENCES.split(text):
        if any(rule(sentence, bearings) for rule in _RULES):
            return sentence.strip()[:160]
    return None


def _promotion(sentence: str, bearings: Bearings) -> bool:
    told = _PROMOTION.search(sentence)
    if told is None or _MAYBE.search(sentence):
        return False
    negative = told[1].lower() in ("rejected", "kept back", "not adopted")
    says = negative == _negated(sentence, told.start())
    return says != bool(bearings.promoted)


def _ending(sentence: str, bearings: Bearings) -> bool:
    subject = re.search(r"\b(?:session|training|run)\b", sentence, re.I)
    if subject is None or _MAYBE.search(sentence):
        return False
    well = bearings.state in ("completed", "rejected")
    good = re.search(r"\b(?:succeed\w*|success\w*|completed|finished)\b", sentence, re.I)
    bad = re.search(r"\b(?:failed|crashed|aborted|cancelled|interrupted|broke)\b(?! to)", sentence, re.I)
    if good and not bad:
        return _negated(sentence, good.start()) == well
    return bad is not None and not good and _negated(sentence, bad.start()) != well


def _beside_champion(sentence: str, bearings: Bearings) -> bool:
    says = _comparison(sentence, _CHAMPION)
    if says == 0 or _MAYBE.search(sentence):
        return False
    return bearings.beats_champion is None or says != bearings.beats_champion


def _beside_baselines(sentence: str, bearings: Bearings) -> bool:
    names = "|".join(map(re.escape, bearings.baseline_names)) or "baseline"
    says = _comparison(sentence, rf"baselines?|simple rules?|naive|rules? of thumb|{names}")
    if says == 0 or _MAYBE.search(sentence):
        return False
    return bearings.beats_baselines is None or (says > 0) != bearings.beats_baselines


def _comparison(sentence: str, subject: str) -> int:
    """1 where the sentence says better than the subject, -1 for worse, 0 where it says neither or both."""
    if not re.search(rf"\b(?:{subject})\b", sentence, re.I):
        return 0
    better, worse = (re.search(rf"\b(?:{words})\b", sentence, re.I) for words in (_BETTER, _WORSE))
    if bool(better) == bool(worse):
        return 0
    found = better or worse
    says = 1 if better else -1
    return -says if found and _negated(sentence, found.start()) else says


def _losses(sentence: str, bearings: Bearings) -> bool:
    """*The validation loss rose*, and no number with it."""
    run = bearings.run
    for word, key in ((r"train(?:ing)? loss", "train_loss"), (r"val(?:idation)? loss", "val_loss")):
        if not re.search(word, sentence, re.I) or _FROM_TO.search(sentence):
            continue
        way = _way(sentence, len(sentence))
        losses = run.losses(key) if run else []
        if way and not losses:
            return True
        if way and not _MAYBE.search(sentence):
            fell, rose = min(losses) < losses[0], losses[-1] > 1.01 * min(losses) or max(losses) > losses[0]
            return not (fell if way < 0 else rose)
    return False


def _by_heart(sentence: str, bearings: Bearings) -> bool:
    told = re.search(r"overfit\w*|by heart|memori[sz]\w+", sentence, re.I)
    if told is None or _MAYBE.search(sentence):
        return False
    rise = bearings.run.rise_after_best if bearings.run else 0.0
    return rise > 0.10 if _negated(sentence, told.start()) else rise < 0.03


def _pairs(sentence: str, bearings: Bearings) -> bool:
    """*fell from A to B*."""
    start = 0
    for pair in _FROM_TO.finditer(sentence):
        way = _way(sentence[start : pair.start()], pair.start()) or _way(sentence[pair.end() :][:40], 40)
        if way == 0:
            way = _quality_way(sentence[start : pair.end() + 40], bearings)
        change = _plain(pair[2]) - _plain(pair[1])
        if way * change < 0 or not _in_course(sentence, pair, bearings.run):
            return True
        start = pair.end()
    return False


def _in_course(sentence: str, pair: re.Match[str], run: TrainingCurve | None) -> bool:
    """Whether the epochs went from the one number to the other, where the sentence speaks of epochs."""
    if run is None:
        return True
    names = [told for told in ("loss", *curve_metrics(run)) if told.replace("_", " ") in sentence.lower()]
    parts = [
        part for part, word in (("train", r"\btrain"), ("val", r"\bval")) if re.search(word, sentence, re.I)
    ]
    keys = [f"{part}_{told}" for told in names for part in parts or ("train", "val")]
    return not keys or any(_went(pair, run.losses(key)) for key in keys)


def _went(pair: re.Match[str], losses: Sequence[float]) -> bool:
    start, end = (NUMBER.match(told) for told in (pair[1], pair[2]))
    if start is None or end is None:
        return False
    first = next((place for place, loss in enumerate(losses) if agrees(start, loss)), None)
    return first is not None and any(agrees(end, loss) for loss in losses[first + 1 :])


def _orders(sentence: str, bearings: Bearings) -> bool:
    """*A, lower than B*: only between numbers of one kind, both whole or both with decimals."""
    for one, word, other in _ORDER.findall(sentence):
        if ("." in one) != ("." in other):
            continue
        told = word.lower()
        less = told in ("lower", "less", "smaller", "below", "under")
        if told in ("better", "worse"):
            gains = bearings.higher_is_better or bool(_GAINS.search(sentence))
            less = (told == "better") != gains
        if (_plain(one) > _plain(other)) if less else (_plain(one) < _plain(other)):
            return not _NOT.search(sentence)
    return False


def _way(text: str, until: int) -> int:
    """1 for up, -1 for down, by the last word of direction in a text; 0 where there is none."""
    found = [(m.start(), way) for words, way in ((_UP, 1), (_DOWN, -1))
             for m in re.finditer(rf"\b(?:{words})\b", text[:until], re.I)]  # fmt: skip
    if not found:
        return 0
    place, way = max(found)
    return -way if _negated(text, place) else way


def _quality_way(text: str, bearings: Bearings) -> int:
    """Up or down, where the text says better or worse."""
    better, worse = (re.search(rf"\b(?:{words})\b", text, re.I) for words in (_BETTER, _WORSE))
    if bool(better) == bool(worse):
        return 0
    gains = bool(_GAINS.search(text)) or (bearings.higher_is_better and "loss" not in text.lower())
    return (1 if better else -1) * (1 if gains else -1)


def _negated(sentence: str, place: int) -> bool:
    """Whether one of the four words before says *not*."""
    before = sentence[:place].split()[-4:]
    return _NOT.search(" ".join(before)) is not None


def _plain(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-"))


_RULES: tuple[Callable[[str, Bearings], bool], ...] = (
    _promotion,
    _ending,
    _beside_champion,
    _beside_baselines,
    _losses,
    _by_heart,
    _pairs,
    _orders,
)
