"""What serves an asset: the preprocessor and the detector, and their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from prediction.equipment.model.detector import AssetDetector, RowScores
from prediction.equipment.model.preprocessor import ChannelPreprocessor, RunningRows
from storage.filesystem.checked_write import save_array, save_json

FILE_NAME: Final = "equipment.json"
FORMAT: Final = 1


@dataclass(frozen=True)
class EquipmentModel:
    """A preprocessor with the detector that was fitted to its rows."""

    device_id: str
    preprocessor: ChannelPreprocessor
    detector: AssetDetector

    def score(self, rows: RunningRows) -> RowScores:
        """Return the judgement on rows."""
        return self.detector.score(self.preprocessor.normalise(rows))

    def save(self, folder: Path) -> None:
        """Write ``equipment.json`` and one array file for each matrix."""
        for name, array in self.detector.to_arrays().items():
            save_array(folder / f"{name}.npy", array)
        document = {
            "format": FORMAT,
            "device_id": self.device_id,
            "preprocessor": self.preprocessor.to_dict(),
            "detector": self.detector.to_dict(),
        }
        save_json(folder / FILE_NAME, document)

    @classmethod
    def load(cls, folder: Path) -> EquipmentModel:
        """Read what `save` wrote; nothing is unpickled."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in folder.glob("part_*.npy")}
        return cls(
            document["device_id"],
            ChannelPreprocessor.from_dict(document["preprocessor"]),
            AssetDetector.from_dict(document["detector"], arrays),
        )
