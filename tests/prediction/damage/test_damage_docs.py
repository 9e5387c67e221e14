"""docs/damage.md is a path that a first-time user can walk: every block is run, in order."""

from __future__ import annotations

import html
import json
import subprocess
import sys

import pytest

from prediction.damage.options import DamageOptions
from settings import PROJECT
from tests.guides import Guide

GUIDE = Guide("damage.md")
(CALLED,) = GUIDE.blocks("python-call")


@pytest.mark.slow
def test_the_first_time_works_as_it_is_written(tmp_path):
    said = GUIDE.walked(tmp_path)
    assert "event: epoch" in said and "event: end" in said
    answer = json.loads((tmp_path / "answer.json").read_text())["predictions"][0]
    assert answer["nearest_class"] in ("healthy", "inner race", "outer race")
    assert answer["timeline"][0].keys() == {"from_seconds", "to_seconds", "class", "probability", "novelty"}


@pytest.mark.slow
def test_a_folder_is_trained_on_without_a_server(tmp_path):
    demo = ["-m", "cli", "demo", "recordings", str(tmp_path / "plant.zip"), "--specimens", "3"]
    subprocess.run([sys.executable, *demo], cwd=PROJECT, check=True)
    unpack = [sys.executable, "-m", "zipfile", "-e", "plant.zip", "plant"]
    subprocess.run(unpack, cwd=tmp_path, check=True)
    quick = CALLED.replace("epochs=4", "epochs=1, channels=[4], overlap=0.5")
    called = subprocess.run(
        [sys.executable, "-c", quick], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(PROJECT), "PATH": ""}, timeout=240,
    )  # fmt: skip
    assert called.returncode == 0, called.stdout + called.stderr
    made = {path.name for path in (tmp_path / "model").iterdir()}
    promised = {"model.onnx", "model.pth", "model_info.json", "training_history.json", "report.pdf"}
    assert made >= promised | {"report.html", "training.log", "model.keras", "model.h5"}
    assert (tmp_path / "model" / "report.pdf").read_bytes()[:4] == b"%PDF"
    assert "Epoch   1" in (tmp_path / "model" / "training.log").read_text()
    log, report = ((tmp_path / "model" / name).read_text() for name in ("training.log", "report.html"))
    (said,) = called.stdout.splitlines()
    printed = said.split()[0]
    assert f"recording_accuracy {float(printed):.3f}" in log
    assert all(html.escape(line.strip()) in report for line in log.splitlines())

    wrong = [sys.executable, "scripts/train_damage.py", "--data", str(tmp_path / "model"), "--save-dir", "x"]
    refused = subprocess.run(wrong, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode != 0
    assert "no recording" in refused.stderr


def test_every_option_is_told():
    assert GUIDE.options() >= set(DamageOptions().fields)
