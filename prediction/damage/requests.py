"""Check what clients send to the damage family: options that name a dataset, and recordings to classify."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from errors import InvalidContent, InvalidRecords, MissingExtra
from prediction.contract import Options, RecordBatch, RequestParser, Upload
from prediction.damage.data.preparation import check_dataset
from prediction.damage.options import DamageOptions
from prediction.dataset_source import DatasetSource
from prediction.options import load_options
from prediction.records.fields import FieldError, is_number
from storage.datasets.facts import DatasetFacts
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.recording_csv import read_recording_csv
from storage.datasets.recordings.spectrogram_csv import MAX_BANDS
from storage.datasets.recordings.waveform import (
    MAX_RATE_HZ,
    MAX_SAMPLE,
    Waveform,
    is_sound_file,
    read_sound_file,
)

MAX_RECORDINGS = 64
# Of one recording in a request: a web worker holds it in memory.
MAX_SAMPLE_BYTES = 256 << 20
# Made on request, in a child process; see serving/keras_files.py.
KERAS_FILES = ("model.keras", "model.h5")
KERAS_MISSING = (
    "Keras is not installed. Install it and ask again: "
    ".venv/bin/python -m pip install -c constraints.txt -r requirements-keras.txt"
)
_FIELDS = {"samples", "sampling_rate_hz", "anomaly_id"}


class DamageSource(DatasetSource):
    """Recordings that models are trained on."""

    def check_facts(self, facts: DatasetFacts, options: Options) -> None:
        check_dataset(facts)


class DamageParser(RequestParser):
    """Checks options and recordings to classify."""

    def parse_options(self, raw: Mapping[str, object]) -> Options:
        return load_options(DamageOptions, raw)

    def has_download(self, file_name: str) -> bool:
        if file_name in KERAS_FILES and find_spec("keras") is None:
            raise MissingExtra(KERAS_MISSING)
        return file_name in KERAS_FILES

    def parse_inputs(self, raw: object) -> RecordBatch:
        """Check a recording as a file (CSV, WAV, FLAC or AIFF), or one or more as JSON.

        ``{"samples": […] or [[…], …], "sampling_rate_hz": 12000}``: a number a sample, or one a channel.
        """
        if isinstance(raw, Upload):
            waveform, notes = _read_waveform(raw)
            recording = {"samples": waveform.samples, "sampling_rate_hz": waveform.sampling_rate_hz}
            return RecordBatch([recording], notes)
        items: list[Any] = raw if isinstance(raw, list) else [raw]
        if not items or len(items) > MAX_RECORDINGS:
            raise InvalidContent(f"Send between 1 and {MAX_RECORDINGS} recordings; {len(items)} were sent")
        recordings, faults = [], []
        for number, item in enumerate(items, 1):
            try:
                recordings.append(_parse_recording(item))
            except FieldError as error:
                faults.append(error.to_dict(number))
        if faults:
            raise InvalidRecords(faults)
        ignored = sorted({name for item in items for name in item} - _FIELDS)
        return RecordBatch(recordings, ignored_fields=ignored)


def _read_waveform(upload: Upload) -> tuple[Waveform, list[str]]:
    """Return the recording of a file, and what was left out of the file."""
    try:
        if is_sound_file(upload.content):
            waveform = read_sound_file(upload.content, MAX_SAMPLE_BYTES)
            notes = [f"The sound file was cut off: it holds {waveform.loss}"] if waveform.loss else []
            return waveform, notes
        # Labels have no meaning here, and looking for rows where they change takes long.
        hints = UploadHints(max_channels=MAX_BANDS, label_column="", specimen_column="")
        file = read_recording_csv(upload.content, hints)
        if len(file.segments) > 1:
            raise InvalidContent(f"it holds {len(file.segments)} recordings; send one")
    except InvalidContent as error:
        raise InvalidContent(f"The recording cannot be read: {error.message}") from error
    return file.segments[0].waveform, file.notes


def _parse_recording(item: object) -> dict[str, object]:
    """Return a recording that was sent as JSON, with its samples as a table."""
    if not isinstance(item, dict):
        raise FieldError(None, "not_an_object", None, "must be an object with samples")
    rate = item.get("sampling_rate_hz")
    if rate is not None and not (is_number(rate) and 0 < rate <= MAX_RATE_HZ):
        message = "sampling_rate_hz must be a positive number"
        raise FieldError("sampling_rate_hz", "not_a_rate", None, message)
    samples = item.get("samples")
    if not isinstance(samples, list) or not samples:
        message = "samples must be a list of numbers, or of lists of numbers"
        raise FieldError("samples", "missing", None, message)
    rows = samples if isinstance(samples[0], list) else [[value] for value in samples]
    if not _is_table(rows):
        message = f"samples must be numbers of up to {MAX_SAMPLE:g}, or lists of them that are equally long"
        raise FieldError("samples", "not_a_number", None, message)
    return {**item, "samples": rows, "sampling_rate_hz": rate}


def _is_table(rows: list[list[object]]) -> bool:
    if not all(isinstance(row, list) for row in rows) or len({len(row) for row in rows}) != 1 or not rows[0]:
        return False
    try:
        # NumPy would take texts and truth values for numbers, so types are compared first.
        if not {type(value) for row in rows for value in row} <= {int, float}:
            return False
        return bool((np.abs(np.asarray(rows, dtype=np.float64)) <= MAX_SAMPLE).all())
    except OverflowError:
        return False
