"""A damage model becomes a SavedModel that answers like its ONNX file; TensorFlow has its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from cli.training.savedmodel import export
from errors import NotFound, TrainingFailed
from settings import PROJECT
from tests.prediction.damage.test_keras_files import version

TENSORFLOW = os.environ.get("TENSORFLOW_OF_TESTS", "")
"""An environment made from requirements-tensorflow.txt."""
pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="requirements-keras.txt is not installed")


def of_a_version(folder: Path) -> Path:
    made = version(folder, "cnn", linear_images=2)
    info = json.loads((made / "model_info.json").read_text())
    (made / "model_info.json").write_text(json.dumps({**info, "input_shape": [3, 17, 11]}))
    return made


@pytest.mark.skipif(
    not TENSORFLOW, reason="TENSORFLOW_OF_TESTS names no environment with TensorFlow (1.6 GB)"
)
def test_tensorflow_answers_like_onnx(tmp_path):
    model = of_a_version(tmp_path / "v0001")
    command = [sys.executable, "-m", "cli", "export", "--model", model, "--output", tmp_path / "out"]
    done = subprocess.run(
        [*command, "--tensorflow-env", TENSORFLOW, "--name", "pump"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "answers like model.onnx" in done.stdout
    assert (tmp_path / "out" / "pump" / "1" / "saved_model.pb").is_file()
    with zipfile.ZipFile(tmp_path / "out" / "pump-serving.zip") as bundle:
        names = set(bundle.namelist())
        request = json.loads(bundle.read("request.json"))
    assert names >= {"pump/1/saved_model.pb", "README.txt", "response.json", "model_info.json"}
    assert len(request["instances"]) == 1


def stand_in(folder: Path, body: str) -> Path:
    """Return an environment whose Python finds a TensorFlow, and makes of the task what the body says."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exit 0; fi\n{body}\n')
    python.chmod(0o755)
    return folder


def test_what_tensorflow_is_given_and_says_is_handed_on(tmp_path):
    model = of_a_version(tmp_path / "v0001")
    answer = json.dumps({"saved_model": "a", "bundle": "b", "deviation": 0.0})
    keep = (
        f"""echo "$3" > {tmp_path}/task.json; cp "$(dirname "$(echo "$3" | cut -d'"' -f4)")"/* {tmp_path}"""
    )
    made = stand_in(tmp_path / "tf", f"{keep}\necho noise\necho '{answer}'")
    result = export(model, tmp_path / "out", made, "pump")
    assert result == json.loads(answer)
    assert (tmp_path / "model.keras").stat().st_size > 1000 and (tmp_path / "expected.npz").exists()


def test_what_goes_wrong_is_said(tmp_path):
    with pytest.raises(NotFound, match=r"model\.onnx"):
        export(tmp_path, tmp_path / "out", tmp_path / "tf", "pump")
    model = of_a_version(tmp_path / "v0001")
    failing = stand_in(tmp_path / "tf", "echo first >&2; echo does not answer alike >&2; exit 1")
    with pytest.raises(TrainingFailed, match="does not answer alike"):
        export(model, tmp_path / "out", failing, "pump")
