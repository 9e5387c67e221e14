"""Which label and specimen a recording has: said by labels.csv, by a column of its file, or by its folder."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from errors import InvalidContent

LABELS_FILE: Final = "labels.csv"
LONGEST_LABEL: Final = 100
_DEPTH_WITH_SPECIMEN: Final = 3


@dataclass(frozen=True)
class RecordingLabels:
    """What is said of one recording."""

    label: str | None = None
    specimen: str | None = None
    sampling_rate_hz: float | None = None


def from_folders(path: PurePosixPath, top: int) -> RecordingLabels:
    """``<label>/<recording>`` or ``<label>/<specimen>/…/<recording>`` below the folders that all share."""
    parts = path.parts[top:]
    if len(parts) < 2:
        return RecordingLabels()
    return RecordingLabels(parts[0], "/".join(parts[1:-1]) if len(parts) >= _DEPTH_WITH_SPECIMEN else None)


def shared_folders(paths: Sequence[PurePosixPath]) -> int:
    """How many folders at the top hold nothing but another folder: they say nothing about a recording."""
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
    folder : PurePosixPath
        Where the file lay: recordings are named relative to it.
    """

    def __init__(self, said: dict[str, RecordingLabels], folder: PurePosixPath) -> None:
        self.said = said
        self.folder = folder
        self.used: dict[str, PurePosixPath] = {}

    @classmethod
    def read(cls, content: bytes, folder: PurePosixPath) -> LabelsFile:
        """Read the file.

        Raises
        ------
        InvalidContent
            It has not the columns it needs, or a line at fault.
        """
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidContent(f"{LABELS_FILE} is not UTF-8: byte {error.start + 1}") from error
        line = text.split("\n", 1)[0]
        reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=line.count))
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        if not {"recording", "label"} <= set(reader.fieldnames):
            raise InvalidContent(f"{LABELS_FILE} needs the columns recording and label")
        rows = [{k: (v or "").strip() for k, v in row.items() if isinstance(k, str)} for row in reader]
        names = Counter(row["recording"] for row in rows)
        if twice := [name for name, count in names.items() if count > 1]:
            raise InvalidContent(f"{LABELS_FILE} names {twice[0][:100]!r} twice")
        return cls({row["recording"].replace("\\", "/"): _said(row) for row in rows}, folder)

    def of(self, path: PurePosixPath, name: str) -> RecordingLabels | None:
        """What is said of a recording, named by path, by file name, or by either without the suffix."""
        inner = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        for key in (name, str(inner), str(inner.with_suffix("")), inner.name, inner.stem):
            if key in self.said:
                if self.used.setdefault(key, path) != path:
                    both = f"{self.used[key]} or {path}"
                    raise InvalidContent(f"{LABELS_FILE} names {key!r}, which may be {both}: name the path")
                return self.said[key]
        return None

    def unused(self) -> list[str]:
        """Recordings that are named and are not there."""
        return sorted(set(self.said) - set(self.used))


def _said(row: dict[str, str]) -> RecordingLabels:
    rate = row.get("sampling_rate_hz", "")
    refusal = InvalidContent(f"{LABELS_FILE}: sampling_rate_hz of {row['recording']!r} is no rate")
    try:
        number = float(rate) if rate else None
    except ValueError as error:
        raise refusal from error
    if number is not None and not 0 < number < 1e9:
        raise refusal
    for column in ("label", "specimen"):
        if len(row.get(column, "")) > LONGEST_LABEL:
            about = f"{column} of {row['recording'][:100]!r}"
            raise InvalidContent(f"{LABELS_FILE}: the {about} is longer than {LONGEST_LABEL} characters")
    return RecordingLabels(row["label"] or None, row.get("specimen") or None, number)
