"""Severe cases: reports, say, that experts found serious and whose answers no version may make safer unseen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prediction.contract.keys import Record, TrainingSource
from prediction.contract.predictor import Resources


@dataclass(frozen=True)
class SevereCase:
    """A case that experts found severe.

    Parameters
    ----------
    id : str
        What requests call it.
    description : str
        For people.
    inputs : mapping
        What a prediction asks about it.
    scores : mapping of str to float
        The experts' severe scores. Only these are guarded.
    """

    id: str
    description: str
    inputs: Record
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Rating:
    """A version's answer to one score of a case.

    Parameters
    ----------
    level : float
        The score.
    chance : float
        The probability of the highest level.
    """

    level: float
    chance: float


class SevereCaseReader(ABC):
    """Reads a family's severe cases, and what its versions answer to them; light enough for a web worker."""

    @abstractmethod
    def list_cases(self, source: TrainingSource, chosen: Sequence[str] | None) -> list[SevereCase]:
        """Return the stored cases of these ids, or without ids the newest ones, the newest first.

        Ids that are not stored, or not severe, are left out.
        """

    @abstractmethod
    def rate(
        self, folder: Path, cases: Sequence[SevereCase], resources: Resources
    ) -> list[Mapping[str, Rating]] | None:
        """Return what the version in a folder answers to the scores of each case; None where it cannot be asked."""
