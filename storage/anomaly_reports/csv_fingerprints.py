"""Fingerprints of the CSV files after the last write, to notice edits by hand. Safe to delete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Container, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, NotRequired, TypedDict

from storage.filesystem.checked_write import write_atomic
from storage.filesystem.files import NO_FILE, FileSignature, read_regular_file, stat_signature, storage_errors

# Once a file has been appended to so often, its fingerprint becomes one segment again.
_MAX_SEGMENTS: Final = 64


class StoredFingerprint(TypedDict):
    """A fingerprint in the file; version 0.1 stored one ``sha256`` of the whole file and no ``segments``."""

    size: int
    mtime_ns: int
    lines: int
    segments: NotRequired[list[tuple[int, str]]]
    sha256: NotRequired[str]


@dataclass(frozen=True)
class FileFingerprint:
    """Size, modification time and hashes of a file.

    Parameters
    ----------
    segments : list of (length, sha256)
        Consecutive parts that make up the whole file. Each append adds one, so that it is hashed alone.
    lines : int
        Number of line ends.
    """

    size: int
    mtime_ns: int
    segments: list[tuple[int, str]]
    lines: int

    @classmethod
    def from_dict(cls, fields: StoredFingerprint) -> FileFingerprint:
        """Read the stored form, of version 0.1 too."""
        segments = fields.get("segments") or [(fields["size"], fields["sha256"])]
        pairs = [(int(length), str(sha256)) for length, sha256 in segments]
        return cls(int(fields["size"]), int(fields["mtime_ns"]), pairs, int(fields["lines"]))

    @property
    def signature(self) -> FileSignature:
        """The file's signature when the fingerprint was taken."""
        return FileSignature(self.size, self.mtime_ns)

    def matches(self, data: bytes) -> bool:
        """Return whether a file's content has this fingerprint."""
        return len(data) == self.size and _hash_segments(data, self.segments) == self.segments


Fingerprints = dict[str, FileFingerprint | None]


def describe_missing(files: Sequence[Path], required: Collection[str]) -> list[str]:
    """Return a note for each required file that is missing although others of the files exist."""
    present = {file.name for file in files if file.exists()}
    missing = [name for name in required if name not in present] if present else []
    return [f"{name} is missing: put it back, or restore a backup" for name in missing]


class CsvFingerprints:
    """The fingerprint file beside the data.

    Parameters
    ----------
    file : Path
        Where the fingerprints are stored.
    watched : list of Path
        The data files.
    """

    def __init__(self, file: Path, watched: list[Path]) -> None:
        self._file = file
        self._watched = watched

    def is_stale(self) -> bool:
        """Return whether size or time of any file differs from its fingerprint."""
        stored = self._read()
        return any(stat_signature(file) != _signature(stored.get(file.name)) for file in self._watched)

    def note_appends(self, names: Container[str]) -> None:
        """Update the fingerprints of the files that a commit has changed, hashing the appended bytes only."""
        stored = self._read()
        present = {
            file.name: _extend(before, file) if file.name in names else before
            for file in self._watched
            for before in [stored.get(file.name)]
        }
        self._write(stored, present)

    def adopt(self) -> list[str]:
        """Accept the files as they are; return a note for each file whose content has changed."""
        stored = self._read()
        present: Fingerprints = {}
        notes = []
        for file in self._watched:
            signature, before = stat_signature(file), stored.get(file.name)
            data = b"" if signature == NO_FILE else read_regular_file(file)
            if before is None or signature == NO_FILE or not before.matches(data):
                is_absent = signature == NO_FILE
                present[file.name] = None if is_absent else _fingerprint(data, signature.mtime_ns)
                notes += _describe_change(file.name, before, present[file.name])
            else:
                present[file.name] = replace(before, mtime_ns=signature.mtime_ns)
        self._write(stored, present)
        return notes

    def _read(self) -> Fingerprints:
        """Return the stored fingerprints; none where the file is absent or was torn by a power cut."""
        try:
            stored = json.loads(self._file.read_bytes())
            return {str(name): facts and FileFingerprint.from_dict(facts) for name, facts in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return {}

    def _write(self, stored: Fingerprints, present: Fingerprints) -> None:
        if present != stored:
            content = {name: facts and asdict(facts) for name, facts in present.items()}
            write_atomic(self._file, json.dumps(content, indent=1).encode(), durable=False)


def _signature(fingerprint: FileFingerprint | None) -> FileSignature:
    return NO_FILE if fingerprint is None else fingerprint.signature


def _extend(before: FileFingerprint | None, file: Path) -> FileFingerprint | None:
    """Return the fingerprint of a file that may have grown since ``before`` was taken."""
    signature = stat_signature(file)
    if signature == _signature(before):
        return before
    if signature == NO_FILE:
        return None
    if before is None or signature.size <= before.size or len(before.segments) >= _MAX_SEGMENTS:
        return _fingerprint(read_regular_file(file), signature.mtime_ns)
    with storage_errors(file), file.open("rb") as opened:
        opened.seek(before.size)
        appended = opened.read()
    added = _fingerprint(appended, signature.mtime_ns)
    return FileFingerprint(
        before.size + added.size, added.mtime_ns, before.segments + added.segments, before.lines + added.lines
    )


def _fingerprint(data: bytes, mtime_ns: int) -> FileFingerprint:
    return FileFingerprint(len(data), mtime_ns, _hash_segments(data, [(len(data), "")]), data.count(b"\n"))


def _hash_segments(data: bytes, segments: list[tuple[int, str]]) -> list[tuple[int, str]]:
    hashes = []
    start = 0
    for length, _ in segments:
        hashes.append((length, hashlib.sha256(data[start : start + length]).hexdigest()))
        start += length
    return hashes


def _describe_change(name: str, before: FileFingerprint | None, now: FileFingerprint | None) -> list[str]:
    if before is None:
        return []
    if now is None:
        return [f"{name} was removed by hand since the last training"]
    lines = f"{before.lines} lines then, {now.lines} now"
    return [f"{name} was changed by hand since the last training ({lines}); the file as it is now counts"]
