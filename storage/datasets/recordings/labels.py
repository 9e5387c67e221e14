"""Find the label and specimen of a recording: from labels.csv, a column of its file, or its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from errors import InvalidContent
from storage.datasets import csv_files

LABELS_FILE: Final = "labels.csv"
MAX_LABEL_LENGTH: Final = 100
_MIN_DEPTH_WITH_SPECIMEN: Final = 3


@dataclass(frozen=True)
class RecordingLabels:
    """What is known of one recording from outside its samples."""

    label: str | None = None
    specimen: str | None = None
    sampling_rate_hz: float | None = None


def labels_from_folders(path: PurePosixPath, shared: int) -> RecordingLabels:
    """Read ``<label>/<recording>`` or ``<label>/<specimen>/…/<recording>`` below the shared folders."""
    parts = path.parts[shared:]
    if len(parts) < 2:
        return RecordingLabels()
    specimen = "/".join(parts[1:-1]) if len(parts) >= _MIN_DEPTH_WITH_SPECIMEN else None
    return RecordingLabels(parts[0], specimen)


def count_shared_folders(paths: Sequence[PurePosixPath]) -> int:
    """Count the folders at the top that hold only another folder: they say nothing about a recording."""
    top = 0
    while paths and all(len(path.parts) > top + 2 for path in paths):
        if len({path.parts[top] for path in paths}) > 1:
            break
        top += 1
    return top


class LabelsFile:
    """The lines of a ``labels.csv``: ``recording,label`` and, if known, ``specimen``, ``sampling_rate_hz``.

    Parameters
    ----------
    lines : dict
        By the name of the recording.
    folder : PurePosixPath
        The file's own folder: recordings are named relative to it.
    """

    def __init__(self, lines: dict[str, RecordingLabels], folder: PurePosixPath) -> None:
        self.lines = lines
        self.folder = folder
        self._used: dict[str, PurePosixPath] = {}

    @classmethod
    def read(cls, content: bytes, folder: PurePosixPath) -> LabelsFile:
        """Read the file.

        Raises
        ------
        InvalidContent
            It has not the columns it needs, or a line at fault.
        """
        try:
            names, rows = csv_files.read_dicts(content)
        except InvalidContent as error:
            raise InvalidContent(f"{LABELS_FILE}: {error.message}") from error
        if not {"recording", "label"} <= set(names):
            raise InvalidContent(f"{LABELS_FILE} needs the columns recording and label")
        counts = Counter(row["recording"] for row in rows)
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise InvalidContent(f"{LABELS_FILE} names {repeated[0][:100]!r} twice")
        return cls({row["recording"].replace("\\", "/"): _parse_line(row) for row in rows}, folder)

    def find(self, path: PurePosixPath, name: str) -> RecordingLabels | None:
        """Find a recording, named by path, by file name, or by either without the suffix."""
        inner = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        for key in (name, str(inner), str(inner.with_suffix("")), inner.name, inner.stem):
            if key in self.lines:
                if self._used.setdefault(key, path) != path:
                    both = f"{self._used[key]} or {path}"
                    raise InvalidContent(f"{LABELS_FILE} names {key!r}, which may be {both}: name the path")
                return self.lines[key]
        return None

    def missing(self) -> list[str]:
        """Return recordings that are named and do not exist."""
        return sorted(set(self.lines) - set(self._used))


def _parse_line(row: dict[str, str]) -> RecordingLabels:
    rate = row.get("sampling_rate_hz", "")
    try:
        number = float(rate) if rate else None
    except ValueError:
        number = 0.0
    if number is not None and not 0 < number < 1e9:
        raise InvalidContent(f"{LABELS_FILE}: sampling_rate_hz of {row['recording']!r} is no rate")
    for column in ("label", "specimen"):
        if len(row.get(column, "")) > MAX_LABEL_LENGTH:
            cell = f"{column} of {row['recording'][:100]!r}"
            raise InvalidContent(f"{LABELS_FILE}: the {cell} is longer than {MAX_LABEL_LENGTH} characters")
    return RecordingLabels(row["label"] or None, row.get("specimen") or None, number)
