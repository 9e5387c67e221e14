"""When each backup was last opened and its models answered from it. Losing this file costs another drill."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from errors import MillwrightError
from storage.filesystem.checked_write import write_json
from storage.filesystem.files import read_regular_file


@dataclass(frozen=True)
class Proof:
    """The last restore drill of a backup.

    Parameters
    ----------
    proven_at : datetime or None
        When a drill last succeeded.
    models : int
        Champions that were loaded.
    answers : int
        Kept predictions that were answered again, bit for bit.
    error : str or None
        What failed in the last drill.
    """

    drilled_at: datetime
    proven_at: datetime | None
    models: int
    answers: int
    error: str | None


class Proofs:
    """The file ``proofs.json`` beside the backups; one process at a time writes it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, Proof]:
        """Return the last drill of each backup, by name."""
        try:
            stored = json.loads(read_regular_file(self.file))
            return {
                name: Proof(
                    datetime.fromisoformat(entry["drilled_at"]),
                    datetime.fromisoformat(entry["proven_at"]) if entry["proven_at"] else None,
                    entry["models"],
                    entry["answers"],
                    entry["error"],
                )
                for name, entry in stored.items()
            }
        except (MillwrightError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def add(self, name: str, proof: Proof, existing: Container[str]) -> None:
        """Store the drill of a backup, and drop those of backups that are gone."""
        proofs = {**self.read(), name: proof}
        stored = {other: asdict(entry) for other, entry in proofs.items() if other in existing}
        write_json(self.file, json.loads(json.dumps(stored, default=datetime.isoformat)), durable=False)
