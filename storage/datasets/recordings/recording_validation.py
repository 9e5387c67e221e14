"""Find what is wrong with recordings, in which files. Nothing is changed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from storage.datasets.facts import WAVEFORMS
from storage.datasets.findings import MAX_NAMED, DatasetFinding, list_names
from storage.datasets.recordings.collection import Recording, RecordingBuilder

# Of a class: one for training, one for validation and one for the test.
MIN_RECORDINGS: Final = 3
MIN_SAMPLES: Final = 64

# By code, in the order of the report.
_MESSAGES: Final = {
    "files_left_out": "Files that are no recordings were left out",
    "unreadable_recordings": "Files that cannot be read were left out",
    "left_out_of_files": "Something was left out of files",
    "different_channels": "Recordings with other channels than most were left out",
    "unlabelled_recordings": "Recordings without a label: training leaves them out",
    "labels_without_recording": "labels.csv names recordings that do not exist",
    "irregular_sampling": "Recordings whose time column is not evenly spaced: their spectra are blurred",
    "cut_recordings": "Sound files that were cut off: only the beginning of the recording is there",
    "missing_samples": "Recordings with empty cells: windows over them are left out",
    "placeholder_values": "Recordings with numbers such as -9999 that often stand for missing samples",
    "powers_not_levels": "Spectrograms whose values look like powers, not decibels: train with levels power",
    "constant_recordings": "Recordings that do not move: look at the sensor",
    "unknown_sampling_rate": (
        "Recordings whose sampling rate is unknown: send sampling_rate_hz, or they are taken as 1 Hz"
    ),
}


def validate_recordings(builder: RecordingBuilder) -> list[DatasetFinding]:
    """Return every finding: first about files, then about the whole."""
    entries = builder.entries
    findings = [
        list_names(code, message, builder.notes[code])
        for code, message in _MESSAGES.items()
        if code in builder.notes
    ]
    short = [f"{e.recording}: {e.samples} samples" for e in entries if e.samples < MIN_SAMPLES]
    if short and builder.input_kind == WAVEFORMS:
        message = f"Recordings of fewer than {MIN_SAMPLES} samples"
        findings.append(list_names("short_recordings", message, short))
    return [*findings, *_check_rates(entries), *_check_classes(entries), *_check_copies(entries)]


def _check_rates(entries: list[Recording]) -> Iterator[DatasetFinding]:
    rates = Counter(f"{entry.sampling_rate_hz:g} Hz" for entry in entries if entry.sampling_rate_hz)
    if len(rates) > 1:
        counts = tuple(f"{rate}: {count}" for rate, count in rates.most_common(MAX_NAMED))
        message = "Recordings have different sampling rates: training resamples to the lowest"
        yield DatasetFinding("different_sampling_rates", message, len(rates), values=counts)


def _check_classes(entries: list[Recording]) -> Iterator[DatasetFinding]:
    labels = Counter(entry.label for entry in entries if entry.label)
    if len(labels) < 2:
        yield DatasetFinding("one_class", f"{len(labels)} classes are labelled; training needs two", 1)
    few = [f"{label}: {count}" for label, count in sorted(labels.items()) if count < MIN_RECORDINGS]
    if few:
        message = f"Classes of fewer than {MIN_RECORDINGS} recordings cannot be split by recording"
        yield list_names("few_recordings", message, few)
    specimens: dict[str, set[str]] = {}
    for entry in entries:
        if entry.label and entry.specimen:
            specimens.setdefault(entry.label, set()).add(entry.specimen)
    few = [
        f"{label}: {len(names)}" for label, names in sorted(specimens.items()) if len(names) < MIN_RECORDINGS
    ]
    if few:
        message = f"Classes of fewer than {MIN_RECORDINGS} specimens: scores will say nothing about a new one"
        yield list_names("few_specimens", message, few)


def _check_copies(entries: list[Recording]) -> Iterator[DatasetFinding]:
    first: dict[str, str] = {}
    copies = []
    for entry in entries:
        if entry.sha256 in first:
            copies.append(f"{entry.recording}: as {first[entry.sha256]}")
        first.setdefault(entry.sha256, entry.recording)
    if copies:
        message = "Copies of other recordings: they stay in one part of the split"
        yield list_names("duplicate_recordings", message, copies)
