"""The prepared data of a network. It imports no torch: request parsers import what prepares data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prediction.contract import PreparedData


@dataclass(frozen=True, kw_only=True)
class NeuralData(PreparedData):
    """The data of a network's training.

    Parameters
    ----------
    checkpoints : Path, optional
        Folder of the checkpoints of all trainings; None stores none.
    """

    checkpoints: Path | None = None
