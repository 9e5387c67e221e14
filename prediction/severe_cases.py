"""The safety ratchet: severe cases are locked at the level that the serving version gives them.

Recall on held-out cases says how often severe ones are found; it does not say that a certain one, which the plant
knows, is still found. A version that gives a locked case a lower level than the serving one needs a person's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from errors import ArtefactCorrupt
from prediction.contract import ModelKey, Rating, Resources, SevereCase, SevereCaseReader, TrainingSource
from storage.models.manifest import SaferAnswerRecord

# Cases locked for each score, where the plant has chosen none. One of the newest 120 genuine weekly batches of a plant
# is held back with 20 of them (benchmarks/scoring/severe_cases); a simulation held as many with 10 and with 30.
MAX_CASES: Final = 20

# The serving version is surer than not. Between the chance from which on it answers 5 (.2) and this one, answers
# change in weeks in which nothing is wrong: without the limit 10 of 120 genuine weeks were held back.
MIN_CHANCE: Final = 0.5

# A case of which the anchor was so sure stays locked when the serving version is no longer: otherwise one version
# could become unsure of it, and the next one drop it. With .75, two more of 120 genuine weeks were held back.
MIN_ANCHOR_CHANCE: Final = 0.9

# Cases that a sentence names; manifests and answers list all.
_MAX_NAMED: Final = 10


@dataclass(frozen=True)
class LockedCase:
    """A severe case with the levels at which it is locked, by score."""

    case: SevereCase
    levels: Mapping[str, float]


@dataclass(frozen=True)
class SaferAnswer:
    """A locked case to which a version gives a lower level than the serving one."""

    case: str
    score: str
    before: float
    after: float

    def to_dict(self) -> SaferAnswerRecord:
        """Return the answer as manifests and responses have it."""
        return {"case": self.case, "score": self.score, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        return f"{self.case} ({self.score.replace('_', ' ')} {self.before:g} → {self.after:g})"


def lock_cases(
    reader: SevereCaseReader,
    source: TrainingSource,
    champion: Path,
    resources: Resources,
    *,
    anchor: Path | None = None,
    chosen: Sequence[str] | None = None,
) -> list[LockedCase] | None:
    """Return the severe cases, locked at the levels of the serving version.

    Parameters
    ----------
    champion, anchor : Path
        The folders of the serving version and of the anchor.
    chosen : sequence of str, optional
        The cases that the plant has chosen. By default, for each score the newest ones that experts gave the highest
        level and that one of the versions is sure of.

    Returns
    -------
    list of LockedCase or None
        None where the serving version cannot be asked.
    """
    cases = reader.list_cases(source, chosen)
    ratings = reader.rate(champion, cases, resources) if cases else []
    if ratings is None:
        return None
    if chosen is not None:
        return [
            LockedCase(case, {score: rating.level for score, rating in rated.items()})
            for case, rated in zip(cases, ratings, strict=True)
        ]
    unsure = [row for row, rated in enumerate(ratings) if not all(map(_is_sure, rated.values()))]
    earlier: Mapping[int, Mapping[str, Rating]] = {}
    if anchor is not None and anchor != champion and unsure:
        try:
            anchor_ratings = reader.rate(anchor, [cases[row] for row in unsure], resources) or []
        except ArtefactCorrupt:  # it only adds cases, and is no longer what serves
            anchor_ratings = []
        earlier = dict(zip(unsure, anchor_ratings, strict=False))
    counts: Counter[str] = Counter()
    locked = []
    for row, (case, rated) in enumerate(zip(cases, ratings, strict=True)):
        levels = {}
        for score, rating in rated.items():
            was_sure = row in earlier and earlier[row][score].chance >= MIN_ANCHOR_CHANCE
            if (_is_sure(rating) or was_sure) and counts[score] < MAX_CASES:
                levels[score] = rating.level
                counts[score] += 1
        if levels:
            locked.append(LockedCase(case, levels))
    return locked


def find_safer_answers(
    reader: SevereCaseReader, locked: Sequence[LockedCase], folder: Path, resources: Resources
) -> list[SaferAnswer] | None:
    """Return the locked cases to which the version in a folder gives a lower level; None if it cannot be asked."""
    ratings = reader.rate(folder, [entry.case for entry in locked], resources) if locked else []
    if ratings is None:
        return None
    return [
        SaferAnswer(entry.case.id, score, level, rated[score].level)
        for entry, rated in zip(locked, ratings, strict=True)
        for score, level in entry.levels.items()
        if rated[score].level < level
    ]


def describe_safer(safer: Sequence[SaferAnswer]) -> str:
    """Return a sentence, without its full stop, that names the cases with their levels before and after."""
    named = ", ".join(map(str, safer[:_MAX_NAMED]))
    more = f" and {len(safer) - _MAX_NAMED} more" if len(safer) > _MAX_NAMED else ""
    are = "1 locked severe case is" if len(safer) == 1 else f"{len(safer)} locked severe cases are"
    return f"{are} answered safer than by the serving version: {named}{more}"


def describe_unknown(key: ModelKey) -> str:
    """Return the sentence, without its full stop, for a model whose safer answers cannot be determined."""
    return f"Whether locked severe cases of {key} are answered safer cannot be told"


def to_records(safer: Sequence[SaferAnswer] | None) -> list[SaferAnswerRecord] | None:
    """Return the answers as manifests and responses have them; None where they cannot be told."""
    return None if safer is None else [answer.to_dict() for answer in safer]


def _is_sure(rating: Rating) -> bool:
    return rating.chance >= MIN_CHANCE
