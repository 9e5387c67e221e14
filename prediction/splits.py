"""Leak-free splits and the certificate that proves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Interval = tuple[int, int]
"""First and last raw sample id of a run of samples, both included."""


@dataclass(frozen=True)
class SplitCertificate:
    """What a family states about its split, in ids of raw samples (rows, readings, cycles).

    Parameters
    ----------
    unit : str
        What an id counts: ``"row"``, ``"reading"``, ``"device"``, ``"recording"``.
    method : str
        How the split was made: ``"time"``, ``"unit"`` or ``"recording"``.
    train, validation, test : sequence of (first, last)
        Inclusive intervals of raw sample ids that touch each part, windows and horizons included.
    gap : int
        Raw samples that must lie between two parts; only asked where ``method`` is ``"time"``.
    """

    unit: str
    method: str
    train: Sequence[Interval]
    validation: Sequence[Interval] = field(default=())
    test: Sequence[Interval] = field(default=())
    gap: int = 0

    def violations(self) -> list[str]:
        """Every way in which the stated intervals leak; empty where the certificate holds."""
        found = []
        for early, late in (("train", "validation"), ("train", "test"), ("validation", "test")):
            found += self._between(early, late)
        if not self.train:
            found.append("the training part is empty")
        return found

    def _between(self, early: str, late: str) -> list[str]:
        shared = _overlap(getattr(self, early), getattr(self, late))
        if shared is not None:
            return [f"{self.unit} {shared} is in both the {early} and the {late} part"]
        if self.method == "time" and getattr(self, early) and getattr(self, late):
            last, first = max(i[1] for i in getattr(self, early)), min(i[0] for i in getattr(self, late))
            if first - last - 1 < self.gap:
                return [
                    f"{early} ends at {self.unit} {last} and {late} starts at {first}: "
                    f"the gap must be {self.gap} or more"
                ]
        return []

    def to_dict(self) -> dict[str, Any]:
        """The certificate as JSON."""
        return {
            "unit": self.unit,
            "method": self.method,
            "train": [list(i) for i in self.train],
            "validation": [list(i) for i in self.validation],
            "test": [list(i) for i in self.test],
            "gap": self.gap,
        }


def to_intervals(ids: Iterable[int]) -> list[Interval]:
    """The shortest list of inclusive intervals that covers exactly ``ids``."""
    runs: list[Interval] = []
    for sample in sorted(set(ids)):
        if runs and sample == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], sample)
        else:
            runs.append((sample, sample))
    return runs


def _overlap(one: Sequence[Interval], other: Sequence[Interval]) -> int | None:
    """The first sample that both lists cover: a sweep that remembers how far each side reaches."""
    reach = [-1, -1]
    for start, end, side in sorted([(*i, 0) for i in one] + [(*i, 1) for i in other]):
        if start <= reach[1 - side]:
            return start
        reach[side] = max(reach[side], end)
    return None
