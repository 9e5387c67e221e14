"""What the CSV files were like when Millwright last wrote them, so that a change by hand is noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from storage.filesystem.files import NO_FILE, FileSignature, read_regular_file, stat_signature, write_atomic

Facts = dict[str, Any]


class CsvFingerprints:
    """A small file beside the data; losing it loses nothing but a note.

    Parameters
    ----------
    file : Path
        Where the facts are kept.
    watched : list of Path
        The data files.
    """

    def __init__(self, file: Path, watched: list[Path]) -> None:
        self._file = file
        self._watched = watched

    def is_stale(self) -> bool:
        """Whether any file looks different from what is remembered."""
        known = self._known()
        return any(stat_signature(file) != _seen(known.get(file.name)) for file in self._watched)

    def adopt(self) -> list[str]:
        """Remember the files as they are; a note for each whose content was another."""
        known = self._known()
        present = {file.name: _facts(file) for file in self._watched}
        if present != known:
            write_atomic(self._file, json.dumps(present, indent=1).encode(), durable=False)
        return [note for name in known if (note := _note(name, known[name], present.get(name)))]

    def _known(self) -> dict[str, Facts | None]:
        """What is remembered; nothing where the file is absent or was torn by a power cut."""
        try:
            known = json.loads(self._file.read_bytes())
            return {str(name): facts and dict(facts) for name, facts in known.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _seen(facts: Facts | None) -> FileSignature:
    return NO_FILE if facts is None else FileSignature(facts.get("size", 0), facts.get("mtime_ns", 0))


def _facts(file: Path) -> Facts | None:
    sign = stat_signature(file)
    if sign == NO_FILE:
        return None
    data = read_regular_file(file)
    sha256 = hashlib.sha256(data).hexdigest()
    return {"size": len(data), "mtime_ns": sign.mtime_ns, "sha256": sha256, "lines": data.count(b"\n")}


def _note(name: str, known: Facts | None, present: Facts | None) -> str | None:
    if known is None or (present is not None and known.get("sha256") == present["sha256"]):
        return None
    if present is None:
        return f"{name} was removed by hand since the last training"
    lines = f"{known.get('lines')} lines then, {present['lines']} now"
    return f"{name} was changed by hand since the last training ({lines}); the file as it is now counts"
