"""docs/forecasting.md is a path that a first-time user can walk: every block is run, in order."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from prediction.forecasting.options import ForecastingOptions
from settings import PROJECT
from tests.live_server import live_server

GUIDE = (PROJECT / "docs" / "forecasting.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
(DOWNLOADED,) = re.findall(r"^```python-download\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SERVER = "http://127.0.0.1:5000"


@pytest.mark.slow
def test_the_first_time_works_as_it_is_written(tmp_path):
    (tmp_path / "scripts").symlink_to(PROJECT / "scripts")
    with live_server(tmp_path / "home", sentence_model="none", demo_data=0) as address:
        script = "set -euo pipefail\n" + "\n".join(STEPS).replace(SERVER, address).replace(
            "python3", sys.executable
        )
        ran = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "event: epoch" in ran.stdout and "event: end" in ran.stdout
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
    table = GUIDE.partition("## Training")[2].partition("## Prediction")[0]
    told = set(
        re.findall(
            r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
        )
    )
    assert told >= set(ForecastingOptions().fields)
