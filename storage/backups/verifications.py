"""When each backup was last read as a whole, and what was found. Losing this file costs another reading."""

from __future__ import annotations

import json
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from errors import MillwrightError
from storage.filesystem.checked_write import write_json
from storage.filesystem.files import FileSignature, read_regular_file, stat_signature


@dataclass(frozen=True)
class Verification:
    """The result of reading every byte of a backup.

    Parameters
    ----------
    signature : str
        Signature of the folder at that time; with another one the result is outdated.
    error : str or None
        What was wrong.
    """

    verified_at: datetime
    signature: str
    error: str | None

    def to_dict(self) -> dict[str, str | None]:
        """Return the stored form."""
        return {
            "verified_at": self.verified_at.isoformat(),
            "signature": self.signature,
            "error": self.error,
        }


class Verifications:
    """The file ``verifications.json`` beside the backups, shared by all processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: FileSignature | None = None
        self._by_name: dict[str, Verification] = {}

    def get(self, name: str) -> Verification | None:
        """Return the last verification of a backup."""
        self._load()
        return self._by_name.get(name)

    def set(self, name: str, verification: Verification) -> None:
        """Store a verification."""
        self._load()
        self._by_name[name] = verification
        self._write()

    def keep(self, names: Container[str]) -> None:
        """Drop the verifications of backups that are gone."""
        self._load()
        kept = {name: entry for name, entry in self._by_name.items() if name in names}
        if kept != self._by_name:
            self._by_name = kept
            self._write()

    def _load(self) -> None:
        try:
            stamp = stat_signature(self._file)
            if stamp == self._stamp:
                return
            stored = json.loads(read_regular_file(self._file))
            self._by_name = {
                name: Verification(
                    datetime.fromisoformat(entry["verified_at"]), entry["signature"], entry["error"]
                )
                for name, entry in stored.items()
            }
            self._stamp = stamp
        except (MillwrightError, ValueError, TypeError, KeyError, AttributeError):
            self._by_name = {}

    def _write(self) -> None:
        with suppress(MillwrightError):  # on a full disk the next listing reads the backups again
            write_json(
                self._file, {name: entry.to_dict() for name, entry in self._by_name.items()}, durable=False
            )
            self._stamp = stat_signature(self._file)
