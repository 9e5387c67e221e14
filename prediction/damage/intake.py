"""What a client may send to the damage family: options that name a dataset, and recordings to be told."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from errors import InvalidContent, InvalidRecords, MissingExtra
from prediction.contract import JSON, Intake, ModelKey, RecordBatch, Upload
from prediction.damage.data.preparation import check
from prediction.damage.options import DamageOptions
from prediction.options import load_options
from storage.datasets.recordings.recording_csv import UploadHints, read_recording_csv
from storage.datasets.recordings.spectrogram_csv import MAX_BANDS
from storage.datasets.recordings.waveform import MAX_SAMPLE, Waveform, is_sound_file, read_sound_file
from storage.datasets.store import DatasetStore

MAX_RECORDINGS = 64
MAX_SAMPLE_BYTES = 256 << 20
"""Of one recording in a request: a web worker holds it in memory."""
KERAS_FILES = ("model.keras", "model.h5")
"""Made on demand, in a child process: see keras_files."""
KERAS_MISSING = (
    "Keras is not installed. Install it and ask again: "
    ".venv/bin/python -m pip install -c constraints.txt -r requirements-keras.txt"
)
_FIELDS = {"samples", "sampling_rate_hz", "anomaly_id"}


class DamageIntake(Intake):
    """Datasets of recordings below ``data/datasets/``; models are named as people like."""

    def parse_options(self, raw: JSON) -> JSON:
        return load_options(DamageOptions, raw)

    def has_download(self, file_name: str) -> bool:
        if file_name in KERAS_FILES and find_spec("keras") is None:
            raise MissingExtra(KERAS_MISSING)
        return file_name in KERAS_FILES

    def check_options(self, key: ModelKey, options: JSON) -> None:
        store = DatasetStore(self.data_dir / "datasets")
        check(store.get(options["dataset"], key.tenant).facts)

    def parse_inputs(self, raw: Any) -> RecordBatch:
        """A recording as a file (CSV or WAV), or one or more as JSON.

        ``{"samples": […] or [[…], …], "sampling_rate_hz": 12000}``: a number a sample, or one a channel.
        """
        if isinstance(raw, Upload):
            return RecordBatch([_from_file(raw)])
        asked = raw if isinstance(raw, list) else [raw]
        if not asked or len(asked) > MAX_RECORDINGS:
            raise InvalidContent(f"Send between 1 and {MAX_RECORDINGS} recordings; {len(asked)} were sent")
        faults = [fault for number, one in enumerate(asked, 1) if (fault := _fault(number, one))]
        if faults:
            raise InvalidRecords(faults)
        ignored = sorted({name for one in asked for name in one} - _FIELDS)
        return RecordBatch([_two_dimensional(one) for one in asked], ignored_fields=ignored)

    def training_source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
        return {"datasets": str(self.data_dir / "datasets"), "tenant": key.tenant, "model": key.path}


def _from_file(upload: Upload) -> JSON:
    try:
        waveform = _waveform(upload)
    except InvalidContent as error:
        raise InvalidContent(f"The recording cannot be read: {error.message}") from error
    return {"samples": waveform.samples, "sampling_rate_hz": waveform.sampling_rate_hz}


def _waveform(upload: Upload) -> Waveform:
    if is_sound_file(upload.content):
        return read_sound_file(upload.content, MAX_SAMPLE_BYTES)
    pieces = read_recording_csv(upload.content, UploadHints(max_channels=MAX_BANDS))
    if len(pieces) > 1:
        raise InvalidContent(f"it holds {len(pieces)} recordings; send one")
    return pieces[0].waveform


def _fault(number: int, one: Any) -> JSON | None:
    """What is wrong with one recording sent as JSON."""
    if not isinstance(one, dict):
        return _said(number, None, "not_an_object", "must be an object with samples")
    rate = one.get("sampling_rate_hz")
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is not None and not (is_number and 0 < rate <= 1e9):
        return _said(number, "sampling_rate_hz", "not_a_rate", "sampling_rate_hz must be a positive number")
    samples = one.get("samples")
    if not isinstance(samples, list) or not samples:
        return _said(
            number, "samples", "missing", "samples must be a list of numbers, or of lists of numbers"
        )
    if not _is_table(samples):
        words = "samples must be numbers of up to 1e15, or lists of them that are equally long"
        return _said(number, "samples", "not_a_number", words)
    return None


def _is_table(samples: list[Any]) -> bool:
    rows = samples if all(isinstance(row, list) for row in samples) else [[value] for value in samples]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        return False
    flat = [value for row in rows for value in row]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in flat):
        return False
    return all(abs(value) <= MAX_SAMPLE for value in flat)


def _two_dimensional(one: JSON) -> JSON:
    rows = one["samples"]
    samples = rows if isinstance(rows[0], list) else [[value] for value in rows]
    return {**one, "samples": samples, "sampling_rate_hz": one.get("sampling_rate_hz")}


def _said(number: int, field: str | None, code: str, words: str) -> JSON:
    message = f"Record {number}: {words}"
    return {"record": number, "field": field, "code": code, "value": None, "message": message}
