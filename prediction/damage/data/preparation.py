"""Stored recordings into images for training, validation and test, with the split certificate."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.contract import JSON, PreparedData
from prediction.damage.data.split import RecordingSplit, split_recordings
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.precomputed_spectrogram import PrecomputedSpectrograms
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms
from storage.datasets.facts import RECORDINGS, SPECTROGRAMS, DatasetFacts
from storage.datasets.recordings.collection import Recording, Recordings
from storage.datasets.recordings.spectrogram_csv import count_images
from storage.datasets.store import Dataset, DatasetStore

LONGEST_AUTO_WINDOW: Final = 2048
_SECONDS_A_WINDOW: Final = 1 / 6
_SECONDS_OF_MODULATION: Final = 0.005
_MODULATION: Final = (8, 64)
"""Samples of the frames of modulation spectra: the fewest, and those where the rate is unknown."""
_FRAMES_OF_MODULATION: Final = 8
SHORTEST_WINDOW: Final = 32
_WINDOWS_A_RECORDING: Final = 4
_FRAMES_A_WINDOW, _STEPS_A_FRAME = 4, 8
_WINDOWS_ENOUGH: Final = 3_000
_OVERLAPS: Final = (0.5, 0.9)
_USUAL_BANDS: Final = 64
_MOST_ROWS: Final = 64


@dataclass(frozen=True)
class ImageSplit:
    """The windows of one part of the split.

    Parameters
    ----------
    images : ndarray of float32, shape (n, images, bands, frames)
    targets : ndarray of int64, shape (n,)
        Places in the list of classes.
    owners : ndarray of int64, shape (n,)
        Places in ``entries``: the recording that each window comes from.
    """

    images: Floats
    targets: NDArray[np.int64]
    owners: NDArray[np.int64]
    entries: Sequence[Recording]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def truth(self) -> NDArray[np.int64]:
        """The class of each recording that has windows here, by its place in ``entries``."""
        found = np.full(len(self.entries), -1, dtype=np.int64)
        found[self.owners] = self.targets
        return found


@dataclass(frozen=True, kw_only=True)
class PreparedRecordings(PreparedData):
    """With what a trained model must remember of its data, and where a training leaves its epochs."""

    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    classes: tuple[str, ...] = ()
    sound: InputTransform | None = None
    recordings: Recordings | None = None
    checkpoints: Path | None = None

    @property
    def heard(self) -> InputTransform:
        """How the recordings are looked at; there always is a way once they are prepared."""
        assert self.sound is not None
        return self.sound


def prepare(source: JSON, options: JSON, checkpoints: Path | None = None) -> PreparedRecordings:
    """Read the dataset that the options name, below the folder that the source names.

    Raises
    ------
    NotFound, InvalidContent
        There is no such dataset, or it holds no recordings.
    NotEnoughData
        A class would be missing in a part of the split.
    """
    dataset = DatasetStore(Path(source["datasets"])).get(options["dataset"], source["tenant"])
    return prepare_recordings(dataset, options, checkpoints)


def prepare_recordings(
    dataset: Dataset, options: JSON, checkpoints: Path | None = None
) -> PreparedRecordings:
    """The same for a dataset at hand."""
    check(dataset.require_kind(RECORDINGS).facts)
    recordings = dataset.recordings()
    sound = choose_transform(recordings, options)
    usable = [
        e for e in recordings.entries if e.label and _length(e, sound) >= sound.spectrograms.window_size
    ]
    classes = tuple(sorted({str(entry.label) for entry in usable}))
    if len(classes) < 2:
        raise NotEnoughData("Fewer than two classes have recordings of one window or more")
    parts = split_recordings(usable, options["split_by"], options["seed"])
    most = max(1, options["max_windows"] // len(usable))
    made = [
        compute_images(recordings, [usable[place] for place in places], sound, classes, most)
        for places in (parts.train, parts.validation, parts.test)
    ]
    return PreparedRecordings(
        train=made[0],
        validation=made[1],
        test=made[2],
        certificate=parts.certificate,
        fingerprint=_fingerprint(usable, sound),
        rows=sum(entry.samples for entry in usable),
        facts={
            **_origin(dataset, len(recordings.entries) - len(usable)),
            **_facts(usable, sound, parts, made),
        },
        classes=classes,
        sound=sound,
        recordings=recordings,
        checkpoints=checkpoints,
    )


def check(facts: DatasetFacts) -> None:
    """Refuse what no training could use, from the dataset's facts alone.

    Raises
    ------
    InvalidContent, NotEnoughData
        It holds no recordings, or fewer than two labels.
    """
    if facts.get("kind") != RECORDINGS:
        raise InvalidContent("Damage detection needs a dataset of recordings: a zip of CSV or WAV files")
    if len(facts["labels"]) < 2:
        known = ", ".join(facts["labels"]) or "none"
        raise NotEnoughData(f"Recordings of two classes or more are needed; labelled are: {known}")


def choose_transform(recordings: Recordings, options: JSON) -> InputTransform:
    """The options' numbers, those left open chosen from the recordings' lengths.

    A window is a quarter of a recording's length (of the shortest but one in ten), and 2,048 samples or a
    sixth of a second at most: a few turns of a shaft. A frame is a quarter of a window. Windows overlap by
    half, and by more where there would be few of them.
    """
    if recordings.input_kind == SPECTROGRAMS:
        return _given(recordings, options)
    labelled = _labelled(recordings)
    rates = [entry.sampling_rate_hz for entry in labelled if entry.sampling_rate_hz]
    rate = options["sampling_rate_hz"] or (min(rates) if rates else 1.0)
    lengths = [entry.samples * rate / (entry.sampling_rate_hz or rate) for entry in labelled]
    usual = float(np.quantile(lengths, 0.1)) / _WINDOWS_A_RECORDING
    longest = max(LONGEST_AUTO_WINDOW, _power_of_two(rate * _SECONDS_A_WINDOW))
    auto = min(longest, max(SHORTEST_WINDOW, 2 ** int(np.log2(max(usual, 2)))))
    window = options["window_size"] or auto
    n_fft = options["n_fft"] or max(8, window // _FRAMES_A_WINDOW)
    if n_fft > window:
        raise InvalidContent(f"n_fft {n_fft} is larger than the window of {window} samples")
    hop = options["hop"] or max(1, n_fft // _STEPS_A_FRAME)
    bands = options["bands"] or min(_USUAL_BANDS, n_fft // 2)
    names = {name: options[name] for name in ("scale", "normalise", "envelope", "phase")}
    modulation = _modulation(window, rate if rates else None) if options["modulation"] else 0
    spectrograms = Spectrograms(window, n_fft, hop, bands, **names, modulation=modulation)
    least, most = (1 - share for share in _OVERLAPS[::-1])
    step = float(np.clip(sum(lengths) / _WINDOWS_ENOUGH / window, least, most))
    if options["overlap"] is not None:
        step = 1 - options["overlap"]
    return InputTransform(recordings.channels, rate, spectrograms, hop * max(1, round(window * step / hop)))


def _modulation(window: int, rate_hz: float | None) -> int:
    """Samples of the short frames of modulation spectra, about 5 ms.

    0 where that is too few samples for a spectrum (below 1.2 kHz), or too much of a window.
    """
    fewest, usual = _MODULATION
    wanted = usual if rate_hz is None else _power_of_two(rate_hz * _SECONDS_OF_MODULATION)
    return wanted if fewest <= wanted <= window // _FRAMES_OF_MODULATION else 0


def _power_of_two(count: float) -> int:
    return 1 << max(0, int(np.log2(count) + 0.5))


def _given(recordings: Recordings, options: JSON) -> InputTransform:
    """The same for given spectrograms: a window is as the shortest but one in ten, 64 rows at most."""
    labelled = _labelled(recordings)
    usual = int(np.quantile([entry.samples for entry in labelled], 0.1, method="lower"))
    window = options["window_size"] or max(1, min(_MOST_ROWS, usual))
    look = PrecomputedSpectrograms(
        window, count_images(recordings.channels), options["levels"], options["normalise"]
    )
    overlap = _OVERLAPS[0] if options["overlap"] is None else options["overlap"]
    rates = [entry.sampling_rate_hz for entry in labelled if entry.sampling_rate_hz]
    return InputTransform(
        recordings.channels, min(rates, default=1.0), look, max(1, round(window * (1 - overlap)))
    )


def _labelled(recordings: Recordings) -> list[Recording]:
    return [entry for entry in recordings.entries if entry.label] or list(recordings.entries)


def compute_images(
    recordings: Recordings,
    entries: Sequence[Recording],
    sound: InputTransform,
    classes: Sequence[str],
    most: int,
) -> ImageSplit:
    """Images of these recordings, at most so many a recording."""
    images, targets, owners = [], [], []
    for place, entry in enumerate(entries):
        heard, _ = sound.heard(recordings.samples(entry), entry.sampling_rate_hz, most)
        images.append(heard)
        targets.append(np.full(len(heard), classes.index(str(entry.label)), dtype=np.int64))
        owners.append(np.full(len(heard), place, dtype=np.int64))
    return ImageSplit(np.concatenate(images), np.concatenate(targets), np.concatenate(owners), entries)


def _length(entry: Recording, sound: InputTransform) -> float:
    if isinstance(sound.spectrograms, PrecomputedSpectrograms):
        return entry.samples
    return entry.samples * sound.sampling_rate_hz / (entry.sampling_rate_hz or sound.sampling_rate_hz)


def _fingerprint(entries: Sequence[Recording], sound: InputTransform) -> str:
    told: list[Any] = [[e.recording, e.label, e.specimen, e.sampling_rate_hz, e.sha256] for e in entries]
    told.append([list(sound.channels), sound.sampling_rate_hz, sound.hop, sound.spectrograms.to_dict()])
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _origin(dataset: Dataset, left_out: int) -> JSON:
    return {
        "dataset": dataset.id,
        "dataset_sha256": dataset.facts["sha256"],
        "dataset_name": dataset.facts["name"],
        "left_out": left_out,
    }


def _facts(
    usable: Sequence[Recording], sound: InputTransform, parts: RecordingSplit, made: Sequence[ImageSplit]
) -> JSON:
    names = ("train", "validation", "test")
    balance = Counter(str(entry.label) for entry in usable)
    return {
        "recordings": {name: len(part.entries) for name, part in zip(names, made, strict=True)},
        "windows": {name: len(part) for name, part in zip(names, made, strict=True)},
        "class_balance": dict(sorted(balance.items())),
        "split_by": parts.by,
        "split_note": parts.note,
        "sampling_rate_hz": sound.sampling_rate_hz,
        "window_seconds": sound.spectrograms.window_size / sound.sampling_rate_hz,
        "input_shape": list(sound.spectrograms.shape(len(sound.channels))),
        "known": sorted({e.sha256[:16] for part in made[:2] for e in part.entries}),
        "known_specimens": sorted({e.specimen for part in made[:2] for e in part.entries if e.specimen}),
    }
