"""Spectrograms that come as CSV: read, named when they are wrong, trained on, and told."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from errors import InvalidContent
from prediction.contract import Upload
from prediction.damage.spectrograms.precomputed_spectrogram import PrecomputedSpectrograms
from storage.datasets.recordings.spectrogram_csv import count_images
from tests.prediction.damage.conftest import KINDS, recording, spectrogram_csv

BANDS = 33


def archive(count: int = 6, *, extra: dict[str, str] | None = None, **how) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for kind in KINDS:
            for number in range(count):
                wave = recording(kind, seed=number + 1000 * KINDS.index(kind))
                target.writestr(f"{kind}/r{number}.csv", spectrogram_csv(wave, **how))
        for name, text in (extra or {}).items():
            target.writestr(name, text)
    return made.getvalue()


def test_they_are_trained_on_and_told(plant):
    prepared = plant.prepare(dataset=plant.upload(archive()), overlap=0.8, window_size=None)
    assert prepared.facts["input_shape"] == [1, BANDS, 61]
    assert len(prepared.train) == 4 * 2
    model = plant.family.fit(
        prepared, plant.options(epochs=15, window_size=None), lambda stage, **facts: None
    )
    assert plant.family.evaluate(model, prepared).metrics["recording_accuracy"] == 1
    predictor = plant.load(plant.save(model, prepared))
    plant.check_parity(predictor, model, prepared)
    for kind in KINDS:
        sent = Upload(spectrogram_csv(recording(kind, seed=77)).encode(), "new.csv")
        (answer,) = predictor.predict(plant.parser.parse_inputs(sent).records, {})
        assert (answer["nearest_class"], answer["known"]) == (kind, True)
    with pytest.raises(InvalidContent, match=f"{BANDS} bands of spectrograms"):
        predictor.predict([{"samples": np.zeros((500, 2))}], {})


def test_long_ones_are_cut_into_windows_that_overlap_by_half(plant):
    prepared = plant.prepare(dataset=plant.upload(archive()), window_size=20)
    assert prepared.facts["input_shape"] == [1, BANDS, 20]
    assert len(prepared.train) == 8 * 6
    first = prepared.train.entries[0]
    rows = prepared.recordings.samples(first)
    np.testing.assert_allclose(prepared.train.images[1][0], rows[10:30].T * np.log(10) / 10, rtol=1e-5)


def test_decibels_logarithms_and_powers_make_equal_images():
    power = np.random.default_rng(0).exponential(size=(30, 16)).astype(np.float32) + 0.01
    starts = np.array([0, 5])
    made = [
        PrecomputedSpectrograms(20, 2, levels).compute(values, starts)
        for levels, values in (("power", power), ("log", np.log(power)), ("decibel", 10 * np.log10(power)))
    ]
    assert made[0].shape == (2, 2, 8, 20)
    for other in made[1:]:
        np.testing.assert_allclose(made[0], other, atol=1e-5)


def test_without_a_header_the_sender_says_what_they_are(plant):
    dataset = plant.store.get(plant.upload(archive(header=False), input_kind="spectrograms"))
    assert (dataset.facts["input_kind"], len(dataset.facts["columns"])) == ("spectrograms", BANDS)
    assert dataset.facts["findings"] == []
    assert plant.prepare(dataset=dataset.id, window_size=None).facts["input_shape"] == [1, BANDS, 61]
    assert plant.store.get(plant.upload(archive(header=False))).facts["input_kind"] == "waveforms"


def test_wrong_files_and_shapes_are_named(plant):
    wave = recording("healthy", seed=1)
    good = spectrogram_csv(wave)
    narrow = "\n".join(",".join(line.split(",")[:20]) for line in good.splitlines())
    extra = {
        "knocking/z-narrow.csv": narrow,
        "knocking/z-wave.csv": "time,x\n" + "".join(f"{n / 100},{v}\n" for n, v in enumerate(wave)),
        "knocking/z-odd.csv": good.replace(",500 Hz", ",pressure"),
        "knocking/z-falling.csv": good.replace(",500 Hz", ",5 Hz"),
        "knocking/z-power.csv": spectrogram_csv(wave, decibel=False),
    }
    dataset = plant.store.get(plant.upload(archive(extra=extra)))
    found = {finding["code"]: " ".join(finding["values"]) for finding in dataset.facts["findings"]}
    assert (
        "narrow.csv: a spectrogram of 19 bands instead of a spectrogram of 33" in found["different_channels"]
    )
    assert "wave.csv: x instead of a spectrogram of 33 bands" in found["different_channels"]
    assert "falling.csv: frequencies do not rise at column '5 Hz'" in found["unreadable_recordings"]
    assert "odd.csv: column 'pressure' is no frequency" in found["unreadable_recordings"]
    assert "power.csv" in found["powers_not_levels"]
    assert dataset.facts["recordings"] == 13


def test_columns_are_put_together_by_channel():
    assert count_images(["0 Hz", "1.5 kHz", "3 kHz"]) == 1
    assert count_images(["x 10Hz", "x 20Hz", "y 10Hz", "y 20Hz"]) == 2
    for columns, said in (
        (["x 10 Hz", "x 20 Hz", "y 10 Hz"], "different numbers"),
        (["x 10 Hz", "y 10 Hz", "x 20 Hz", "y 20 Hz"], "stand together"),
        (["20 Hz", "10 Hz"], "do not rise"),
    ):
        with pytest.raises(InvalidContent, match=said):
            count_images(columns)
