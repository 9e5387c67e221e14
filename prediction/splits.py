"""The certificate that a split leaks no sample from one part into another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from storage.models.manifest import CertificateRecord

# First and last raw sample id of a run of samples, both included.
Interval = tuple[int, int]


@dataclass(frozen=True)
class SplitCertificate:
    """A family's statement about its split, in ids of raw samples (rows, readings, cycles).

    Parameters
    ----------
    unit : str
        What an id counts: ``"row"``, ``"reading"``, ``"device"``, ``"recording"``.
    method : str
        How the split was made: ``"time"``, ``"unit"``, ``"recording"`` or ``"leave_one_out"``.
    train, validation, test : sequence of (first, last)
        Inclusive intervals of raw sample ids that touch each part, windows and horizons included. Of a forecast
        that is only evaluated, the ids of its future: its history is known when it is made, so it may reach back
        into an earlier part.
    gap : int
        Raw samples that must lie between two parts; only checked where ``method`` is ``"time"``.
    folds : sequence of SplitCertificate
        The splits of a cross-validation, whose test parts together judge the model. What serves is then fitted
        to all samples, so ``train`` holds all of them and ``test`` none.
    """

    unit: str
    method: str
    train: Sequence[Interval]
    validation: Sequence[Interval] = field(default=())
    test: Sequence[Interval] = field(default=())
    gap: int = 0
    folds: Sequence[SplitCertificate] = field(default=())

    def violations(self) -> list[str]:
        """Return every way in which the stated intervals leak; empty where the certificate holds."""
        problems = []
        for early, late in (("train", "validation"), ("train", "test"), ("validation", "test")):
            problems += self._compare(early, late)
        if not self.train:
            problems.append("the training part is empty")
        for number, fold in enumerate(self.folds, 1):
            problems += [f"fold {number}: {problem}" for problem in fold.violations()]
        return problems

    def _compare(self, early: str, late: str) -> list[str]:
        """Return the problems between two parts."""
        earlier, later = getattr(self, early), getattr(self, late)
        shared = _find_overlap(earlier, later)
        if shared is not None:
            return [f"{self.unit} {shared} is in both the {early} and the {late} part"]
        if self.method == "time" and earlier and later:
            last, first = max(interval[1] for interval in earlier), min(interval[0] for interval in later)
            if first - last - 1 < self.gap:
                return [
                    f"{early} ends at {self.unit} {last} and {late} starts at {first}: "
                    f"the gap must be {self.gap} or more"
                ]
        return []

    def to_dict(self) -> CertificateRecord:
        """Return the certificate as a manifest records it."""
        record: CertificateRecord = {
            "unit": self.unit,
            "method": self.method,
            "train": [list(interval) for interval in self.train],
            "validation": [list(interval) for interval in self.validation],
            "test": [list(interval) for interval in self.test],
            "gap": self.gap,
        }
        if self.folds:
            record["folds"] = [fold.to_dict() for fold in self.folds]
        return record


def to_intervals(ids: Iterable[int]) -> list[Interval]:
    """Return the shortest list of inclusive intervals that covers exactly ``ids``."""
    intervals: list[Interval] = []
    for sample in sorted(set(ids)):
        if intervals and sample == intervals[-1][1] + 1:
            intervals[-1] = (intervals[-1][0], sample)
        else:
            intervals.append((sample, sample))
    return intervals


def _find_overlap(first: Sequence[Interval], second: Sequence[Interval]) -> int | None:
    """Return the first sample that both lists cover, by a sweep over the starts of all intervals."""
    reach = [-1, -1]
    for start, end, side in sorted([(*i, 0) for i in first] + [(*i, 1) for i in second]):
        if start <= reach[1 - side]:
            return start
        reach[side] = max(reach[side], end)
    return None
