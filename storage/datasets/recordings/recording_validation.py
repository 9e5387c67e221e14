"""What is wrong with recordings, in which files. Nothing is mended here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from storage.datasets.recordings.collection import RecordingBuilder
from storage.datasets.recordings.spectrogram_csv import WAVEFORMS
from storage.datasets.tables.validation import MAX_NAMED_ROWS, DatasetFinding

FEWEST: Final = 3
"""Recordings a class must have, so that one can be for training, one for validation and one for the test."""
SHORTEST: Final = 64

_SAID: Final = {
    "files_left_out": "Files that are no recordings were left out",
    "unreadable_recordings": "Files that cannot be read were left out",
    "different_channels": "Recordings with other channels than the first one were left out",
    "unlabelled_recordings": "Recordings without a label: training leaves them out",
    "labels_without_recording": "labels.csv names recordings that are not there",
    "irregular_sampling": "Recordings whose time column is not evenly spaced: their spectra are blurred",
    "missing_samples": "Recordings with empty cells: windows over them are left out",
    "powers_not_levels": "Spectrograms whose values look like powers, not decibels: train with levels power",
    "constant_recordings": "Recordings that do not move: look at the sensor",
}


def validate_recordings(found: RecordingBuilder) -> list[DatasetFinding]:
    """Every finding: first about files, then about the whole."""
    return [*_about_files(found), *_about_rates(found), *_about_classes(found), *_about_copies(found)]


def _about_files(found: RecordingBuilder) -> Iterator[DatasetFinding]:
    for code, said in _SAID.items():
        if names := found.noted.get(code):
            yield _named(code, said, names)
    short = [f"{e.recording}: {e.samples} samples" for e in found.entries if e.samples < SHORTEST]
    if short and found.content == WAVEFORMS:
        yield _named("short_recordings", f"Recordings of fewer than {SHORTEST} samples", short)


def _about_rates(found: RecordingBuilder) -> Iterator[DatasetFinding]:
    if names := found.noted.get("unknown_sampling_rate"):
        said = "Recordings whose sampling rate is unknown: send sampling_rate_hz, or they are taken as 1 Hz"
        yield _named("unknown_sampling_rate", said, names)
    rates = Counter(f"{e.sampling_rate_hz:g} Hz" for e in found.entries if e.sampling_rate_hz)
    if len(rates) > 1:
        told = [f"{rate}: {count}" for rate, count in rates.most_common()]
        said = "Recordings have different sampling rates: training resamples to the lowest"
        yield DatasetFinding(
            "different_sampling_rates", said, len(rates), values=tuple(told[:MAX_NAMED_ROWS])
        )


def _about_classes(found: RecordingBuilder) -> Iterator[DatasetFinding]:
    labels = Counter(e.label for e in found.entries if e.label)
    if len(labels) < 2:
        yield DatasetFinding("one_class", f"{len(labels)} classes are labelled; training needs two", 1)
    few = [f"{label}: {count}" for label, count in sorted(labels.items()) if count < FEWEST]
    if few:
        said = f"Classes of fewer than {FEWEST} recordings cannot be split by recording"
        yield _named("few_recordings", said, few)
    yield from _about_specimens(found)


def _about_specimens(found: RecordingBuilder) -> Iterator[DatasetFinding]:
    """Classes whose specimens are known and too few to keep one for the validation and one for the test."""
    known: dict[str, set[str]] = {}
    for entry in found.entries:
        if entry.label and entry.specimen:
            known.setdefault(entry.label, set()).add(entry.specimen)
    few = [f"{label}: {len(names)}" for label, names in sorted(known.items()) if len(names) < FEWEST]
    if few:
        said = f"Classes of fewer than {FEWEST} specimens: scores will say nothing about one never seen"
        yield _named("few_specimens", said, few)


def _about_copies(found: RecordingBuilder) -> Iterator[DatasetFinding]:
    first: dict[str, str] = {}
    copies = []
    for entry in found.entries:
        if entry.sha256 in first:
            copies.append(f"{entry.recording}: as {first[entry.sha256]}")
        first.setdefault(entry.sha256, entry.recording)
    if copies:
        yield _named("duplicate_recordings", "Copies of other recordings: they stay on one side", copies)


def _named(code: str, said: str, names: list[str]) -> DatasetFinding:
    return DatasetFinding(
        code, f"{said} ({len(names)})", len(names), values=tuple(n[:200] for n in names[:MAX_NAMED_ROWS])
    )
