"""Recordings as training reads them: one array of samples on disk, and what is known of each recording."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets.archive import MAX_FILE_BYTES, FileEntry, UploadedFiles
from storage.datasets.facts import SPECTROGRAMS, WAVEFORMS, Description
from storage.datasets.findings import MAX_NAMED
from storage.datasets.hints import MAX_RECORDINGS, UploadHints
from storage.datasets.recordings.labels import (
    LABELS_FILE,
    LabelsFile,
    RecordingLabels,
    count_shared_folders,
    labels_from_folders,
)
from storage.datasets.recordings.recording_csv import RecordingSegment, read_recording_csv
from storage.datasets.recordings.waveform import SOUND_SUFFIXES, Waveform, read_sound_file
from storage.filesystem.checked_write import CheckedFile
from storage.placeholders import find_placeholder_rows

SAMPLES_FILE: Final = "samples.f32"
LIST_FILE: Final = "recordings.json"
# Each has an open file while the recordings are read.
MAX_CHANNEL_GROUPS: Final = 50
CSV_SUFFIXES: Final = (".csv", ".txt")
# Spectrograms whose largest value is so many times the median are powers: decibels vary less.
_POWER_RATIO: Final = 50


@dataclass(frozen=True)
class Recording:
    """What is known of one recording.

    Parameters
    ----------
    first, samples : int
        Its rows in the array of all samples.
    sha256 : str
        Of its samples: copies of a recording have the same.
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
    input_kind : str
        ``"spectrograms"`` where rows are moments of spectrograms, and channels their bands.
    """

    channels: tuple[str, ...]
    entries: Sequence[Recording]
    values: NDArray[np.float32]
    input_kind: str = WAVEFORMS

    def samples(self, entry: Recording) -> NDArray[np.float32]:
        """Return the samples of one recording, shape (samples, channels), as a view."""
        return self.values[entry.first : entry.first + entry.samples]


@dataclass
class _ChannelGroup:
    """Recordings that have the same channels, with their samples in one file."""

    channels: tuple[str, ...]
    input_kind: str
    file: CheckedFile
    entries: list[Recording] = field(default_factory=list)
    rows: int = 0


class RecordingBuilder:
    """Recordings while they are read, and everything noticed about their files.

    Recordings of one dataset have the same channels: those that most recordings have. Which those are shows only
    at the end, so samples are stored by channels until `finish`.

    Parameters
    ----------
    folder : Path
        Receives the samples.

    Attributes
    ----------
    notes : dict
        File names with a reason, by the finding's code.
    """

    def __init__(self, folder: Path) -> None:
        self.notes: defaultdict[str, list[str]] = defaultdict(list)
        self._folder = folder
        self._groups: dict[tuple[str, frozenset[str]], _ChannelGroup] = {}
        self._chosen: _ChannelGroup | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the dataset."""
        return self._chosen.channels if self._chosen else ()

    @property
    def input_kind(self) -> str:
        """``"waveforms"`` or ``"spectrograms"``."""
        return self._chosen.input_kind if self._chosen else WAVEFORMS

    @property
    def entries(self) -> list[Recording]:
        """Recordings of the dataset."""
        return self._chosen.entries if self._chosen else []

    @property
    def rows(self) -> int:
        """Samples of all recordings of the dataset."""
        return self._chosen.rows if self._chosen else 0

    def note(self, code: str, name: str, reason: str = "") -> None:
        """Remember a file for the report."""
        self.notes[code].append(f"{name}: {reason}" if reason else name)

    def add(self, name: str, waveform: Waveform, labels: RecordingLabels) -> None:
        """Write a recording's samples to the file of its channels."""
        if sum(len(group.entries) for group in self._groups.values()) >= MAX_RECORDINGS:
            raise InvalidContent(f"A dataset may have {MAX_RECORDINGS:,} recordings; {name} holds more")
        # With one channel there is nothing to confuse, whatever each file calls it.
        names = frozenset(waveform.channels) if len(waveform.channels) > 1 else frozenset[str]()
        key = (waveform.input_kind, names)
        if key not in self._groups:
            # A file a group and not a list in memory: an upload may have a gigabyte of samples.
            if len(self._groups) == MAX_CHANNEL_GROUPS:
                self.note("different_channels", name, "there are very many different ones")
                return
            file = CheckedFile(self._folder / f"{SAMPLES_FILE}.{len(self._groups)}")
            self._groups[key] = _ChannelGroup(waveform.channels, waveform.input_kind, file)
        group = self._groups[key]
        samples = waveform.samples
        if len(waveform.channels) > 1:
            samples = samples[:, [waveform.channels.index(channel) for channel in group.channels]]
        rate = waveform.sampling_rate_hz or labels.sampling_rate_hz
        self._note_doubts(name, waveform, labels, rate)
        content = np.ascontiguousarray(samples, dtype="<f4")
        group.file.write(content.data)
        digest = hashlib.sha256(content.data).hexdigest()
        # Of the samples and not of the file: a WAV copy of a CSV recording is a copy.
        entry = Recording(name, labels.label, labels.specimen, group.rows, len(content), rate, digest)
        group.entries.append(entry)
        group.rows += len(content)

    def finish(self) -> None:
        """Choose the channels that most recordings have; the other recordings are noted and removed."""
        if not self._groups:
            return
        self._chosen = max(self._groups.values(), key=lambda group: len(group.entries))
        expected = _describe_channels(self._chosen)
        for group in self._groups.values():
            if group is self._chosen:
                continue
            group.file.close()
            group.file.path.unlink()
            for entry in group.entries:
                self.note(
                    "different_channels",
                    entry.recording,
                    f"{_describe_channels(group)} instead of {expected}",
                )
        self._chosen.file.finish()
        self._chosen.file.path.rename(self._folder / SAMPLES_FILE)

    def _note_doubts(
        self, name: str, waveform: Waveform, labels: RecordingLabels, rate: float | None
    ) -> None:
        is_waveform = waveform.input_kind == WAVEFORMS
        if labels.label is None:
            self.note("unlabelled_recordings", name)
        if rate is None and is_waveform:
            self.note("unknown_sampling_rate", name)
        if not waveform.is_steady:
            self.note("irregular_sampling", name)
        if waveform.loss:
            self.note("cut_recordings", name, waveform.loss)
        is_missing = ~np.isfinite(waveform.samples)
        if is_missing.any():
            row = int(is_missing.any(axis=1).argmax()) + 1
            self.note("missing_samples", name, f"{int(is_missing.sum())}, the first in row {row}")
        suspects = sum(len(find_placeholder_rows(channel)) for channel in waveform.samples.T)
        if is_waveform and suspects:
            self.note("placeholder_values", name, f"{suspects} samples")
        values = np.where(is_missing, 0, waveform.samples)
        is_constant = (values == values[:1]).all(axis=0)
        # An empty band of a spectrogram is no fault of the sensor.
        if is_constant.all() or (is_constant.any() and is_waveform):
            self.note("constant_recordings", name, "a channel has one value throughout")
        median = float(np.median(values))
        if not is_waveform and median > 0 and values.min() >= 0 and values.max() > _POWER_RATIO * median:
            self.note("powers_not_levels", name)


def _describe_channels(group: _ChannelGroup) -> str:
    if group.input_kind == SPECTROGRAMS:
        return f"a spectrogram of {len(group.channels)} bands"
    return ", ".join(group.channels)[:80]


def read_recordings(files: UploadedFiles, hints: UploadHints, folder: Path) -> RecordingBuilder:
    """Read every recording of an upload into one array of samples in ``folder``.

    Raises
    ------
    InvalidContent
        The archive or its labels.csv is at fault, or not one recording can be read.
    """
    candidates = [entry for entry in files.entries if entry.path.name.lower() == LABELS_FILE]
    if len(candidates) > 1:
        raise InvalidContent(f"There are {len(candidates)} files called {LABELS_FILE}; send one")
    labels_file = (
        LabelsFile.read(files.read(candidates[0]), candidates[0].path.parent) if candidates else None
    )
    builder = RecordingBuilder(folder)
    entries = _select_files(files.entries, builder)
    shared = count_shared_folders([entry.path for entry in entries])
    for entry in entries:
        segments = _read_segments(entry, files.read(entry), hints, builder)
        for name, segment in zip(_name_segments(entry, segments), segments, strict=True):
            labels = _find_labels(entry, segment, labels_file, shared, hints)
            builder.add(name, segment.waveform, labels)
    builder.finish()
    if not builder.entries:
        reasons = [note for notes in builder.notes.values() for note in notes][:MAX_NAMED]
        raise InvalidContent("The archive holds no recording that can be read", validation_errors=reasons)
    for name in labels_file.missing() if labels_file else ():
        builder.note("labels_without_recording", name)
    return builder


def _select_files(entries: Sequence[FileEntry], builder: RecordingBuilder) -> list[FileEntry]:
    """Return the files that may be recordings; note the others."""
    selected = []
    for entry in entries:
        if entry.path.name.lower() == LABELS_FILE:
            continue
        if entry.path.suffix.lower() not in CSV_SUFFIXES + SOUND_SUFFIXES:
            builder.note("files_left_out", str(entry.path), "neither .csv nor .wav, .flac or .aiff")
        elif entry.size > MAX_FILE_BYTES:
            builder.note("unreadable_recordings", str(entry.path), f"larger than {MAX_FILE_BYTES >> 20} MB")
        else:
            selected.append(entry)
    return selected


def _read_segments(
    entry: FileEntry, content: bytes, hints: UploadHints, builder: RecordingBuilder
) -> list[RecordingSegment]:
    """Read what the file holds; a file that cannot be read is noted and holds nothing."""
    try:
        if not content:
            raise InvalidContent("empty")
        if entry.path.suffix.lower() in SOUND_SUFFIXES:
            return [RecordingSegment(read_sound_file(content))]
        file = read_recording_csv(content, hints)
    except InvalidContent as error:
        builder.note("unreadable_recordings", str(entry.path), error.message)
        return []
    for note in file.notes:
        builder.note("left_out_of_files", str(entry.path), note)
    return file.segments


def _name_segments(entry: FileEntry, segments: list[RecordingSegment]) -> list[str]:
    """Return names of their own: the path, and the recording or number of each segment of one file."""
    if len(segments) == 1 and segments[0].recording is None:
        return [str(entry.path)]
    counts: Counter[str] = Counter()
    names = []
    for number, segment in enumerate(segments, 1):
        name = f"{entry.path}#{segment.recording or number}"
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name}~{counts[name]}")
    return names


def _find_labels(
    entry: FileEntry,
    segment: RecordingSegment,
    labels_file: LabelsFile | None,
    shared: int,
    hints: UploadHints,
) -> RecordingLabels:
    """Return the labels of labels.csv, else of a column, else of the folder."""
    listed = folder = RecordingLabels()
    if labels_file is None:
        folder = labels_from_folders(entry.path, shared)
    else:
        listed = labels_file.find(entry.path, segment.recording or "") or listed
    # A blank behind a name would make a class, or a specimen, of its own.
    return RecordingLabels(
        (listed.label or segment.label or folder.label or "").strip() or None,
        (listed.specimen or segment.specimen or folder.specimen or "").strip() or None,
        listed.sampling_rate_hz or hints.sampling_rate_hz,
    )


def load_recordings(folder: Path, channels: Sequence[str], input_kind: str = WAVEFORMS) -> Recordings:
    """Map the recordings of a dataset's folder."""
    entries = [Recording(**entry) for entry in json.loads((folder / LIST_FILE).read_bytes())]
    shape = (sum(entry.samples for entry in entries), len(channels))
    values = np.memmap(folder / SAMPLES_FILE, dtype=np.float32, mode="r", shape=shape)
    return Recordings(tuple(channels), entries, values, input_kind)


def describe_recordings(builder: RecordingBuilder) -> Description:
    """Return counts, channels and labels, in the fields that tables have too."""
    rates = Counter(entry.sampling_rate_hz for entry in builder.entries if entry.sampling_rate_hz)
    usual_rate = rates.most_common(1)[0][0] if rates else None
    labels = Counter(entry.label for entry in builder.entries if entry.label)
    return {
        "rows": builder.rows,
        "columns": list(builder.channels),
        "numeric": [],
        "texts": [],
        "types": dict.fromkeys(builder.channels, "number"),
        "time_column": None,
        "frequency_seconds": 1 / usual_rate if usual_rate else None,
        "first_timestamp": None,
        "last_timestamp": None,
        "input_kind": builder.input_kind,
        "recordings": len(builder.entries),
        "labels": dict(sorted(labels.items())),
        "specimens": len({entry.specimen for entry in builder.entries if entry.specimen}),
        "sampling_rate_hz": usual_rate,
    }


def encode_entries(entries: Sequence[Recording]) -> bytes:
    """Encode the list of recordings as ``recordings.json`` holds it."""
    return json.dumps([asdict(entry) for entry in entries]).encode()
