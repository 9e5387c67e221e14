"""Options and prediction requests: everything wrong is named."""

from __future__ import annotations

import numpy as np
import pytest

from errors import InvalidContent, InvalidRecords
from prediction.contract import ModelKey, Upload
from prediction.damage.networks import NETWORKS
from prediction.damage.options import MODEL_TYPES
from prediction.damage.requests import DamageParser, DamageSource
from storage.datasets.recordings.waveform import encode_wav

ASKED = {"dataset": "ds-0123456789ab"}


@pytest.fixture
def intake() -> DamageParser:
    return DamageParser()


def test_num_epochs_is_another_word_for_epochs(intake):
    assert intake.parse_options({**ASKED, "num_epochs": 7})["epochs"] == 7
    with pytest.raises(InvalidContent, match="one of them"):
        intake.parse_options({**ASKED, "num_epochs": 7, "epochs": 7})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"model_type": "oracle"}, "model_type"),
        ({"speed": 9}, "speed"),
        ({"channels": []}, "channels"),
        ({"window_size": 64, "n_fft": 128}, "larger than window_size"),
        ({"n_fft": 64, "hop": 128}, "larger than n_fft"),
        ({"sampling_rate_hz": 0}, "sampling_rate_hz"),
    ],
)
def test_wrong_options_are_named(intake, asked, said):
    with pytest.raises(InvalidContent, match=said):
        intake.parse_options({**ASKED, **asked})


def test_every_offered_network_exists():
    assert set(MODEL_TYPES) == set(NETWORKS)


def test_a_recording_comes_as_wav_as_csv_and_as_json(intake):
    wave = np.arange(6, dtype=np.float32).reshape(3, 2)
    (wav,) = intake.parse_inputs(Upload(encode_wav(wave, 50))).records
    (csv,) = intake.parse_inputs(Upload(b"time,a,b\n0,0,1\n0.02,2,3\n0.04,4,5\n")).records
    (bare,) = intake.parse_inputs(Upload(b"0,1\n2,3\n4,5\n")).records
    for one in (wav, csv, bare):
        np.testing.assert_array_equal(one["samples"], wave)
    assert (wav["sampling_rate_hz"], bare["sampling_rate_hz"]) == (50, None)
    assert csv["sampling_rate_hz"] == pytest.approx(50)
    batch = intake.parse_inputs({"samples": [1, 2.5], "sampling_rate_hz": 10, "colour": "red"})
    assert batch.records[0]["samples"] == [[1], [2.5]]
    assert batch.ignored_fields == ["colour"]


def test_a_sound_file_that_was_cut_off_says_so(intake):
    whole = encode_wav(np.zeros((400, 1), np.float32), 50)
    batch = intake.parse_inputs(Upload(whole[: -4 * 300]))
    assert len(batch.records[0]["samples"]) == 100
    (warning,) = batch.warnings
    stated = f"{len(whole) - 1200:,} of the {len(whole):,} bytes that its header states"
    assert warning == f"The sound file was cut off: it holds {stated}"
    assert intake.parse_inputs(Upload(whole)).warnings == []


@pytest.mark.parametrize("content", [b"", b"x\nhot\n", b"RIFF....WAVE", b"\0\1\2", b"label,x\na,1\nb,2\n"])
def test_a_file_that_is_no_recording_is_refused(intake, content):
    with pytest.raises(InvalidContent, match="cannot be read"):
        intake.parse_inputs(Upload(content))


def test_every_fault_is_named(intake):
    with pytest.raises(InvalidRecords) as refused:
        wrong = [2, {"samples": []}, {"samples": [1, "x"]}, {"samples": [[1], [1, 2]]}]
        intake.parse_inputs([{"samples": [1]}, *wrong, {"samples": [1], "sampling_rate_hz": -1}])
    told = refused.value.facts["validation_errors"]
    assert [sentence.partition(":")[0] for sentence in told] == [f"Record {n}" for n in range(2, 7)]


def test_records_are_not_taken_for_training(intake):
    with pytest.raises(InvalidContent, match="takes no records"):
        intake.parse_records([{"samples": [1]}])


def test_the_child_reads_the_datasets_of_its_tenant(tmp_path):
    source = DamageSource(tmp_path).training_source(ModelKey("damage", "fan", "acme"), None)
    assert (source["tenant"], source["datasets"]) == ("acme", str(tmp_path / "datasets"))


@pytest.mark.parametrize("value", [1e16, -1e300, 10**400], ids=["1e16", "-1e300", "a long integer"])
def test_samples_of_which_no_spectrum_can_be_made_are_refused(intake, value):
    with pytest.raises(InvalidRecords) as refused:
        intake.parse_inputs({"samples": [[0.0], [value]]})
    assert refused.value.facts["errors"][0]["code"] == "not_a_number"
