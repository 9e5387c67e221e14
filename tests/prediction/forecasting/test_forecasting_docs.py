"""docs/forecasting.md is a path that a first-time user can walk: every block is run, in order."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from prediction.forecasting.options import ForecastingOptions
from settings import PROJECT
from tests.guides import Guide

GUIDE = Guide("forecasting.md")
(DOWNLOADED,) = GUIDE.blocks("python-download")


@pytest.mark.slow
def test_the_first_time_works_as_it_is_written(tmp_path):
    said = GUIDE.walked(tmp_path)
    assert "event: epoch" in said and "event: end" in said
    answer = json.loads((tmp_path / "forecast.json").read_text())["predictions"][0]
    served = answer["targets"]["OT"]["values"]
    assert answer["crossings"]["OT"]["threshold"] == 40
    alone = subprocess.run(
        [sys.executable, "-c", DOWNLOADED], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(PROJECT), "PATH": ""},
    )  # fmt: skip
    forecast = [step[0] for step in json.loads(alone.stdout)]
    assert forecast == pytest.approx(served, abs=1e-3)


def test_every_option_is_told():
    assert GUIDE.options() >= set(ForecastingOptions().fields)
