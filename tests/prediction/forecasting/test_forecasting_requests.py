"""Options and prediction requests: everything wrong is named, defaults are those that the guide promises."""

from __future__ import annotations

import pytest

from errors import InvalidContent, InvalidRecords
from prediction.contract import ModelKey
from prediction.forecasting import networks
from prediction.forecasting.options import ARCHITECTURES
from prediction.forecasting.requests import ForecastingParser, ForecastingSource

ASKED = {"dataset": "ds-0123456789ab", "target_columns": ["oil"]}


@pytest.fixture
def intake() -> ForecastingParser:
    return ForecastingParser()


def test_the_defaults_are_those_of_the_guide(intake):
    options = intake.parse_options(ASKED)
    promised = {
        "window_size": 50, "hidden_size": 64, "num_layers": 2, "dropout": 0.2, "conv_filters": 64,
        "kernel_size": 3, "learning_rate": 0.001, "weight_decay": 0, "batch_size": 32, "epochs": 50,
    }  # fmt: skip
    assert {name: options[name] for name in promised} == promised


def test_num_epochs_is_another_word_for_epochs(intake):
    assert intake.parse_options({**ASKED, "num_epochs": 7})["epochs"] == 7
    with pytest.raises(InvalidContent, match="one of them"):
        intake.parse_options({**ASKED, "num_epochs": 7, "epochs": 7})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"window_size": 10.5}, "window_size: Not a whole number"),
        ({"num_epochs": 2.5}, "epochs: Not a whole number"),
        ({"architecture": "Oracle"}, "architecture"),
        ({"window_size": 1}, "window_size"),
        ({"target_columns": []}, "target_columns"),
        ({"target_columns": ["oil", "oil"]}, "once"),
        ({"speed": 9}, "speed"),
        ({"architecture": "PatchTransformer", "hidden_size": 30}, "multiple of 4"),
    ],
)
def test_wrong_options_are_named(intake, asked, said):
    with pytest.raises(InvalidContent, match=said):
        intake.parse_options({**ASKED, **asked})


def test_every_offered_architecture_exists():
    assert set(ARCHITECTURES) == {*networks.ARCHITECTURES, "auto", "compare"}


def test_rows_come_as_a_list_or_beside_what_is_asked(intake):
    rows = [{"oil": 1}]
    assert intake.parse_inputs(rows).records[0]["rows"] == rows
    batch = intake.parse_inputs(
        {"rows": rows, "coverage": 0.8, "degradation_threshold": {"oil": 3}, "colour": "red"}
    )
    assert (batch.records[0]["coverage"], batch.records[0]["degradation_threshold"]) == (0.8, {"oil": 3})
    assert batch.ignored_fields == ["colour"]


@pytest.mark.parametrize(
    "raw", [None, {}, {"rows": []}, {"rows": 3}, {"rows": [{}], "coverage": 0.2},
            {"rows": [{}], "coverage": True}, {"rows": [{}], "degradation_threshold": "high"}]
)  # fmt: skip
def test_what_is_no_series_is_refused(intake, raw):
    with pytest.raises(InvalidContent):
        intake.parse_inputs(raw)


def test_records_that_are_no_objects_are_named(intake):
    with pytest.raises(InvalidRecords) as refused:
        intake.parse_inputs([{"oil": 1}, 2, "three"])
    assert refused.value.facts["validation_errors"] == [
        "Record 2: must be an object of column names and values",
        "Record 3: must be an object of column names and values",
    ]


def test_records_are_not_taken_for_training(intake):
    with pytest.raises(InvalidContent, match="takes no records"):
        intake.parse_records([{"oil": 1}])


def test_the_child_reads_the_datasets_of_its_tenant(tmp_path):
    source = ForecastingSource(tmp_path).training_source(ModelKey("forecasting", "line", "acme"), None)
    assert source["tenant"] == "acme"
    assert source["datasets"] == str(tmp_path / "datasets")
