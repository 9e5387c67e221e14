"""Turn stored recordings into images for training, validation and test, with the split certificate."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.contract import Options, TrainingSource
from prediction.damage.data.split import RecordingSplit, split_recordings
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.precomputed_spectrogram import PrecomputedSpectrograms
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms
from prediction.neural.data import NeuralData
from storage.datasets.facts import RECORDINGS, SPECTROGRAMS, DatasetFacts
from storage.datasets.recordings.collection import Recording, Recordings
from storage.datasets.recordings.spectrogram_csv import count_images
from storage.datasets.store import Dataset, DatasetStore

# Digits of a recording's sha256 in ``model_info.json``.
SHA256_LENGTH: Final = 16
# The defaults below were chosen on public bearing and gear recordings, see docs/BENCHMARKS.md.
_MIN_WINDOW: Final = 32
# A window is at most as long as the longer of these two: a few turns of a shaft.
_MAX_WINDOW: Final = 2048
_MAX_WINDOW_SECONDS: Final = 1 / 6
_MIN_WINDOWS_PER_RECORDING: Final = 4
# Lengths follow the shortest recordings, except the shortest tenth.
_SHORT_QUANTILE: Final = 0.1
_FRAMES_PER_WINDOW, _STEPS_PER_FRAME = 4, 8
_ENOUGH_WINDOWS: Final = 3_000
_MIN_OVERLAP, _MAX_OVERLAP = 0.5, 0.9
_BANDS: Final = 64
_MAX_ROWS: Final = 64
_MODULATION_SECONDS: Final = 0.005
# Samples of the frames of modulation spectra: the fewest, and those where the rate is unknown.
_MIN_MODULATION_FRAME, _MODULATION_FRAME = 8, 64
_MIN_MODULATION_FRAMES: Final = 8


@dataclass(frozen=True)
class ImageSplit:
    """The windows of one part of the split.

    Parameters
    ----------
    images : ndarray of float32, shape (n, images, bands, frames)
    targets : ndarray of int64, shape (n,)
        Indices of classes.
    owners : ndarray of int64, shape (n,)
        Indices in ``entries``: the recording that each window comes from.
    """

    images: Floats
    targets: NDArray[np.int64]
    owners: NDArray[np.int64]
    entries: Sequence[Recording]

    def __len__(self) -> int:
        return len(self.targets)

    def select_entries(self, first: int, last: int) -> ImageSplit:
        """Return the windows of ``entries[first:last]`` as views: nothing is copied."""
        # Windows lie in the order of their recordings.
        start, end = np.searchsorted(self.owners, [first, last])
        return ImageSplit(
            self.images[start:end],
            self.targets[start:end],
            self.owners[start:end] - first,
            self.entries[first:last],
        )

    @property
    def recording_targets(self) -> NDArray[np.int64]:
        """The class of each recording in ``entries``; -1 where it has no window here."""
        classes = np.full(len(self.entries), -1, dtype=np.int64)
        classes[self.owners] = self.targets
        return classes


@dataclass(frozen=True, kw_only=True)
class PreparedRecordings(NeuralData):
    """The images of one training, with the transform and classes that its model stores.

    Parameters
    ----------
    whole : ImageSplit
        All recordings; the three parts are views of it.
    """

    whole: ImageSplit
    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    classes: tuple[str, ...]
    transform: InputTransform
    recordings: Recordings


def prepare(source: TrainingSource, options: Options, checkpoints: Path | None = None) -> PreparedRecordings:
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
    dataset: Dataset, options: Options, checkpoints: Path | None = None
) -> PreparedRecordings:
    """Prepare the recordings of a dataset."""
    check_dataset(dataset.facts)
    recordings = dataset.recordings()
    transform = choose_transform(recordings, options)
    labelled = [entry for entry in recordings.entries if entry.label]
    images_by_entry = _compute_usable(recordings, labelled, transform, options["max_windows"])
    usable = [entry for entry, _ in images_by_entry]
    classes = tuple(sorted({str(entry.label) for entry in usable}))
    if len(classes) < 2:
        raise NotEnoughData("Fewer than two classes have recordings of one window or more")
    split = split_recordings(usable, options["split_by"], options["seed"])
    ordered = [*split.train, *split.validation, *split.test]
    whole = _join_images([images_by_entry[index] for index in ordered], classes)
    first_test = len(split.train) + len(split.validation)
    train = whole.select_entries(0, len(split.train))
    validation = whole.select_entries(len(split.train), first_test)
    test = whole.select_entries(first_test, len(ordered))
    return PreparedRecordings(
        whole=whole,
        train=train,
        validation=validation,
        test=test,
        classes=classes,
        transform=transform,
        recordings=recordings,
        certificate=split.certificate,
        fingerprint=_compute_fingerprint(usable, transform),
        rows=sum(entry.samples for entry in usable),
        facts={
            "dataset": dataset.id,
            "dataset_sha256": dataset.facts["sha256"],
            "dataset_name": dataset.facts["name"],
            "left_out": len(recordings.entries) - len(usable),
            # What answers: its own fit to all recordings, or the fit that was evaluated.
            "refit": options["refit"],
            **_describe(usable, transform, split, (train, validation, test)),
        },
        warnings=_describe_missing_classes(labelled, classes, transform),
        checkpoints=checkpoints,
    )


def check_dataset(facts: DatasetFacts) -> None:
    """Refuse what no training could use, from the dataset's facts alone.

    Raises
    ------
    InvalidContent, NotEnoughData
        It holds no recordings, or fewer than two labels.
    """
    if facts["kind"] != RECORDINGS:
        raise InvalidContent("Damage detection needs a dataset of recordings: a zip of CSV or sound files")
    if len(facts["labels"]) < 2:
        labels = ", ".join(facts["labels"]) or "none"
        raise NotEnoughData(f"Recordings of two classes or more are needed; labelled are: {labels}")


def choose_transform(recordings: Recordings, options: Options) -> InputTransform:
    """Return the transform of the options; what they leave open follows from the recordings' lengths.

    A window is a quarter of a short recording's length, and 2,048 samples or a sixth of a second at most. A
    frame is a quarter of a window. Windows overlap by half, and by more where there would be few of them.
    """
    labelled = [entry for entry in recordings.entries if entry.label] or list(recordings.entries)
    if recordings.input_kind == SPECTROGRAMS:
        return _choose_precomputed(recordings, labelled, options)
    rates = [entry.sampling_rate_hz for entry in labelled if entry.sampling_rate_hz]
    rate = options["sampling_rate_hz"] or (min(rates) if rates else 1.0)
    lengths = [entry.samples * rate / (entry.sampling_rate_hz or rate) for entry in labelled]
    quarter = float(np.quantile(lengths, _SHORT_QUANTILE)) / _MIN_WINDOWS_PER_RECORDING
    longest = max(_MAX_WINDOW, _nearest_power_of_two(rate * _MAX_WINDOW_SECONDS))
    window = options["window_size"] or min(longest, max(_MIN_WINDOW, 2 ** int(np.log2(max(quarter, 2)))))
    n_fft = options["n_fft"] or max(8, window // _FRAMES_PER_WINDOW)
    if n_fft > window:
        raise InvalidContent(f"n_fft {n_fft} is larger than the window of {window} samples")
    hop = options["hop"] or max(1, n_fft // _STEPS_PER_FRAME)
    spectrograms = Spectrograms(
        window,
        n_fft,
        hop,
        options["bands"] or min(_BANDS, n_fft // 2),
        scale=options["scale"],
        normalise=options["normalise"],
        envelope=options["envelope"],
        phase=options["phase"],
        modulation=_choose_modulation(window, rate if rates else None) if options["modulation"] else 0,
    )
    step = float(np.clip(sum(lengths) / _ENOUGH_WINDOWS / window, 1 - _MAX_OVERLAP, 1 - _MIN_OVERLAP))
    if options["overlap"] is not None:
        step = 1 - options["overlap"]
    return InputTransform(recordings.channels, rate, spectrograms, hop * max(1, round(window * step / hop)))


def _choose_modulation(window: int, rate_hz: float | None) -> int:
    """Return the samples of a frame of modulation spectra, about 5 ms.

    0 where that is too few samples for a spectrum (below 1.2 kHz), or too much of a window.
    """
    frame = _MODULATION_FRAME if rate_hz is None else _nearest_power_of_two(rate_hz * _MODULATION_SECONDS)
    return frame if _MIN_MODULATION_FRAME <= frame <= window // _MIN_MODULATION_FRAMES else 0


def _nearest_power_of_two(count: float) -> int:
    return 1 << max(0, int(np.log2(count) + 0.5))


def _choose_precomputed(
    recordings: Recordings, labelled: Sequence[Recording], options: Options
) -> InputTransform:
    """Return windows as long as a short spectrogram, 64 rows at most."""
    lengths = [entry.samples for entry in labelled]
    short = int(np.quantile(lengths, _SHORT_QUANTILE, method="lower"))
    window = options["window_size"] or max(1, min(_MAX_ROWS, short))
    spectrograms = PrecomputedSpectrograms(
        window, count_images(recordings.channels), options["levels"], options["normalise"]
    )
    overlap = _MIN_OVERLAP if options["overlap"] is None else options["overlap"]
    rate = min((entry.sampling_rate_hz for entry in labelled if entry.sampling_rate_hz), default=1.0)
    return InputTransform(recordings.channels, rate, spectrograms, max(1, round(window * (1 - overlap))))


def compute_images(
    recordings: Recordings,
    entries: Sequence[Recording],
    transform: InputTransform,
    classes: Sequence[str],
    max_windows: int,
) -> ImageSplit:
    """Return the images of these recordings, at most ``max_windows`` of each."""
    images = [_compute_windows(recordings, entry, transform, max_windows) for entry in entries]
    return _join_images(list(zip(entries, images, strict=True)), classes)


def _compute_usable(
    recordings: Recordings, labelled: Sequence[Recording], transform: InputTransform, max_windows: int
) -> list[tuple[Recording, Floats]]:
    """Return the recordings that have a whole window, with their images.

    The others are left out before the split: a class would be missing in a part where its recordings have none.
    """
    window = transform.spectrograms.window_size
    long_enough = [
        entry
        for entry in labelled
        if transform.resampled_length(entry.samples, entry.sampling_rate_hz) >= window
    ]
    # The same for every recording, so that long ones do not outweigh the others.
    max_windows = max(1, max_windows // max(1, len(long_enough)))
    images = [_compute_windows(recordings, entry, transform, max_windows) for entry in long_enough]
    return [(entry, windows) for entry, windows in zip(long_enough, images, strict=True) if len(windows)]


def _compute_windows(
    recordings: Recordings, entry: Recording, transform: InputTransform, max_windows: int
) -> Floats:
    images, _ = transform.windows(recordings.samples(entry), entry.sampling_rate_hz, max_windows)
    return images


def _join_images(images_by_entry: Sequence[tuple[Recording, Floats]], classes: Sequence[str]) -> ImageSplit:
    """Join the images of recordings in their order."""
    entries = [entry for entry, _ in images_by_entry]
    counts = [len(images) for _, images in images_by_entry]
    labels = np.array([classes.index(str(entry.label)) for entry in entries], dtype=np.int64)
    owners = np.arange(len(entries), dtype=np.int64)
    images = np.concatenate([images for _, images in images_by_entry])
    return ImageSplit(images, np.repeat(labels, counts), np.repeat(owners, counts), entries)


def _describe_missing_classes(
    labelled: Sequence[Recording], classes: Sequence[str], transform: InputTransform
) -> list[str]:
    """Return a warning for each class that the model will not know."""
    counts = Counter(str(entry.label) for entry in labelled)
    return [
        f"The model does not know the class {label}: none of its {count} recordings has "
        f"{transform.window_seconds:g} s, one window, without missing samples."
        for label, count in sorted(counts.items())
        if label not in classes
    ]


def _compute_fingerprint(entries: Sequence[Recording], transform: InputTransform) -> str:
    content: list[object] = [
        [e.recording, e.label, e.specimen, e.sampling_rate_hz, e.sha256] for e in entries
    ]
    spectrograms = transform.spectrograms.to_dict()
    content.append([list(transform.channels), transform.sampling_rate_hz, transform.hop, spectrograms])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _describe(
    usable: Sequence[Recording],
    transform: InputTransform,
    split: RecordingSplit,
    parts: tuple[ImageSplit, ImageSplit, ImageSplit],
) -> dict[str, object]:
    names = ("train", "validation", "test")
    learnt_from = [entry for part in parts[:2] for entry in part.entries]
    return {
        "recordings": {name: len(part.entries) for name, part in zip(names, parts, strict=True)},
        "windows": {name: len(part) for name, part in zip(names, parts, strict=True)},
        "class_balance": dict(sorted(Counter(str(entry.label) for entry in usable).items())),
        "split_by": split.by,
        "split_note": split.note,
        "sampling_rate_hz": transform.sampling_rate_hz,
        "window_seconds": transform.window_seconds,
        "input_shape": list(transform.input_shape),
        # A later training compares this model only on recordings and specimens that are not among these.
        **describe_known(learnt_from),
    }


class KnownRecordings(TypedDict):
    """The recordings, by the begin of their sha256, and the specimens that a fit has learnt from."""

    known: list[str]
    known_specimens: list[str]


def describe_known(entries: Sequence[Recording]) -> KnownRecordings:
    """Return what a fit to these recordings knows."""
    return {
        "known": sorted({entry.sha256[:SHA256_LENGTH] for entry in entries}),
        "known_specimens": sorted({entry.specimen for entry in entries if entry.specimen}),
    }
