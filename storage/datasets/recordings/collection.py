"""Recordings as training reads them: one array of samples on disk, and what is known of each recording."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets.archive import MAX_FILE_BYTES, FileEntry, FolderFiles
from storage.datasets.recordings.labels import (
    LABELS_FILE,
    LabelsFile,
    RecordingLabels,
    from_folders,
    shared_folders,
)
from storage.datasets.recordings.recording_csv import RecordingSegment, UploadHints, read_recording_csv
from storage.datasets.recordings.spectrogram_csv import SPECTROGRAMS, WAVEFORMS
from storage.datasets.recordings.waveform import Waveform, read_wav

SAMPLES_FILE: Final = "samples.f32"
LIST_FILE: Final = "recordings.json"
_NAMED: Final = 20
_POWERS: Final = 50


@dataclass(frozen=True)
class Recording:
    """What is known of one recording.

    Parameters
    ----------
    first, samples : int
        Its rows in the array of all samples.
    sha256 : str
        Of its samples: equal recordings are told by it.
    """

    recording: str
    label: str | None
    specimen: str | None
    first: int
    samples: int
    sampling_rate_hz: float | None
    sha256: str


@dataclass(frozen=True)
class Recordings:
    """All recordings of a dataset; their samples are mapped from disk.

    Parameters
    ----------
    values : ndarray of float32, shape (samples of all, channels)
    content : str
        ``"spectrograms"`` where rows are moments of spectrograms, and channels their bands.
    """

    channels: tuple[str, ...]
    entries: Sequence[Recording]
    values: NDArray[np.float32]
    content: str = WAVEFORMS

    def samples(self, entry: Recording) -> NDArray[np.float32]:
        """Samples of one recording, shape (samples, channels): a view."""
        return self.values[entry.first : entry.first + entry.samples]


@dataclass
class RecordingBuilder:
    """Recordings while they are read, and everything that was noticed about their files.

    Parameters
    ----------
    noted : dict
        File names with a reason, by the finding's code.
    """

    channels: tuple[str, ...] = ()
    content: str = WAVEFORMS
    entries: list[Recording] = field(default_factory=list)
    rows: int = 0
    noted: dict[str, list[str]] = field(default_factory=dict)

    def note(self, code: str, name: str, reason: str = "") -> None:
        """Remember a file for the report."""
        self.noted.setdefault(code, []).append(f"{name}: {reason}" if reason else name)


def read_recordings(files: FolderFiles, hints: UploadHints, folder: Path) -> RecordingBuilder:
    """Read every recording of an upload into one array of samples in ``folder``.

    Raises
    ------
    InvalidContent
        The archive or its labels.csv is at fault, or not one recording can be read.
    """
    found = RecordingBuilder()
    labels = _labels(files)
    members = _sound(files.members, found)
    top = shared_folders([member.path for member in members])
    with (folder / SAMPLES_FILE).open("wb") as target:
        for member in members:
            content = files.read(member)
            for name, piece in _named(member, _pieces(member, content, hints, found)):
                said = _said(member.path, piece, labels, top)
                said = replace(said, sampling_rate_hz=said.sampling_rate_hz or hints.sampling_rate_hz)
                _keep(found, name, piece.waveform, said, target)
    if not found.entries:
        reasons = [said for told in found.noted.values() for said in told][:_NAMED]
        raise InvalidContent("The archive holds no recording that can be read", validation_errors=reasons)
    for name in labels.unused() if labels else ():
        found.note("labels_without_recording", name)
    return found


def load_recordings(
    folder: Path, channels: Sequence[str], content: str = WAVEFORMS, *, mapped: bool = True
) -> Recordings:
    """The recordings of a dataset's folder."""
    entries = [Recording(**entry) for entry in json.loads((folder / LIST_FILE).read_bytes())]
    shape = (sum(entry.samples for entry in entries), len(channels))
    values = np.memmap(folder / SAMPLES_FILE, dtype=np.float32, mode="r", shape=shape)
    return Recordings(tuple(channels), entries, values if mapped else np.array(values), content)


def describe_recordings(found: RecordingBuilder) -> dict[str, Any]:
    """Counts, channels and labels as JSON, in the words that tables have too."""
    rates = Counter(entry.sampling_rate_hz for entry in found.entries if entry.sampling_rate_hz)
    usual = rates.most_common(1)[0][0] if rates else None
    labels = Counter(entry.label for entry in found.entries if entry.label)
    return {
        "rows": found.rows,
        "columns": list(found.channels),
        "types": dict.fromkeys(found.channels, "number"),
        "time_column": None,
        "frequency_seconds": 1 / usual if usual else None,
        "first": None,
        "last": None,
        "content": found.content,
        "recordings": len(found.entries),
        "labels": dict(sorted(labels.items())),
        "specimens": len({entry.specimen for entry in found.entries if entry.specimen}),
        "sampling_rate_hz": usual,
    }


def listed(found: RecordingBuilder) -> bytes:
    """The list of recordings as it is kept."""
    return json.dumps([asdict(entry) for entry in found.entries]).encode()


def _labels(files: FolderFiles) -> LabelsFile | None:
    said = [member for member in files.members if member.path.name.lower() == LABELS_FILE]
    if len(said) > 1:
        raise InvalidContent(f"There are {len(said)} files called {LABELS_FILE}; one must say it all")
    return LabelsFile.read(files.read(said[0]), said[0].path.parent) if said else None


def _sound(members: Sequence[FileEntry], found: RecordingBuilder) -> list[FileEntry]:
    """The files that may be recordings; the others are noted."""
    sound = []
    for member in members:
        suffix, name = member.path.suffix.lower(), member.path.name.lower()
        if name == LABELS_FILE:
            continue
        if suffix not in {".csv", ".wav", ".txt"}:
            found.note("files_left_out", str(member.path), "neither .csv nor .wav")
        elif member.size > MAX_FILE_BYTES:
            found.note("unreadable_recordings", str(member.path), f"larger than {MAX_FILE_BYTES >> 20} MB")
        else:
            sound.append(member)
    return sound


def _pieces(
    member: FileEntry, content: bytes, hints: UploadHints, found: RecordingBuilder
) -> list[RecordingSegment]:
    """What the file holds; nothing where it cannot be read, which is noted."""
    try:
        if not content:
            raise InvalidContent("empty")
        if member.path.suffix.lower() == ".wav":
            return [RecordingSegment(read_wav(content))]
        return read_recording_csv(content, hints)
    except InvalidContent as error:
        found.note("unreadable_recordings", str(member.path), error.message)
        return []


def _named(member: FileEntry, pieces: list[RecordingSegment]) -> list[tuple[str, RecordingSegment]]:
    """Pieces with names of their own: the path, and what tells the pieces of one file apart."""
    if len(pieces) == 1 and pieces[0].recording is None:
        return [(str(member.path), pieces[0])]
    counts: Counter[str] = Counter()
    named = []
    for number, piece in enumerate(pieces, 1):
        name = f"{member.path}#{piece.recording or number}"
        counts[name] += 1
        named.append((name if counts[name] == 1 else f"{name}~{counts[name]}", piece))
    return named


def _said(
    path: PurePosixPath, piece: RecordingSegment, labels: LabelsFile | None, top: int
) -> RecordingLabels:
    """labels.csv goes before a column, a column before the folder."""
    listed = labels.of(path, piece.recording or "") if labels else None
    folder = from_folders(path, top)
    listed = listed or RecordingLabels()
    return RecordingLabels(
        listed.label or piece.label or (folder.label if labels is None else None),
        listed.specimen or piece.specimen or (folder.specimen if labels is None else None),
        listed.sampling_rate_hz,
    )


def _keep(
    found: RecordingBuilder, name: str, waveform: Waveform, said: RecordingLabels, target: IO[bytes]
) -> None:
    samples = _in_order(found, name, waveform)
    if samples is None:
        return
    rate = waveform.sampling_rate_hz or said.sampling_rate_hz
    _examine(found, name, waveform, said, rate)
    content = np.ascontiguousarray(samples, dtype="<f4")
    content.tofile(target)
    digest = hashlib.sha256(content.data).hexdigest()
    found.entries.append(Recording(name, said.label, said.specimen, found.rows, len(content), rate, digest))
    found.rows += len(content)


def _in_order(found: RecordingBuilder, name: str, waveform: Waveform) -> NDArray[np.float32] | None:
    """The samples with their channels as in the first recording; None where they are others."""
    if not found.channels:
        found.channels, found.content = waveform.channels, waveform.content
    of_bands = SPECTROGRAMS in (waveform.content, found.content)
    if of_bands and _shape(waveform) != _shape(found):
        found.note("different_channels", name, f"{_shape(waveform)} instead of {_shape(found)}")
        return None
    if set(waveform.channels) == set(found.channels):
        return waveform.samples[:, [waveform.channels.index(channel) for channel in found.channels]]
    if len(waveform.channels) == len(found.channels) == 1:
        return waveform.samples
    said = f"{', '.join(waveform.channels)[:80]} instead of {', '.join(found.channels)[:80]}"
    found.note("different_channels", name, said)
    return None


def _examine(
    found: RecordingBuilder, name: str, waveform: Waveform, said: RecordingLabels, rate: float | None
) -> None:
    """Note what is doubtful about a recording that can be read."""
    if said.label is None:
        found.note("unlabelled_recordings", name)
    if rate is None and waveform.content == WAVEFORMS:
        found.note("unknown_sampling_rate", name)
    if not waveform.steady:
        found.note("irregular_sampling", name)
    missing = ~np.isfinite(waveform.samples)
    if missing.any():
        row = int(missing.any(axis=1).argmax()) + 1
        found.note("missing_samples", name, f"{int(missing.sum())}, the first in row {row}")
    known = np.where(missing, 0, waveform.samples)
    still = (known == known[:1]).all(axis=0)
    if still.all() or (still.any() and waveform.content == WAVEFORMS):
        found.note("constant_recordings", name, "a channel has one value throughout")
    if waveform.content == SPECTROGRAMS and _looks_like_power(known):
        found.note("powers_not_levels", name)


def _looks_like_power(values: NDArray[np.float32]) -> bool:
    """Never negative, and many times as high as usual in places: no level in dB is."""
    usual = float(np.median(values))
    return bool(usual > 0 and values.min() >= 0 and values.max() > _POWERS * usual)


def _shape(one: Waveform | RecordingBuilder) -> str:
    if one.content == SPECTROGRAMS:
        return f"a spectrogram of {len(one.channels)} bands"
    return f"a waveform of {len(one.channels)} channels"
