"""The Keras files of a version answer like its ONNX file; without Keras the error says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import MissingExtra, ParityFailed
from prediction.damage.networks import NETWORKS
from prediction.damage.requests import DamageParser
from prediction.damage.serving import keras_files
from prediction.onnx import OnnxModel, export
from settings import PROJECT

SIZES: dict[str, Any] = {
    "images": 3,
    "bands": 17,
    "frames": 11,
    "classes": 3,
    "channels": [6, 8, 8],
    "hidden_size": 9,
}
NEEDS_KERAS = pytest.mark.skipif(find_spec("keras") is None, reason="requirements-keras.txt is not installed")
IN_KERAS = """
import sys
import keras, numpy as np
images = np.load(sys.argv[1])
for file in sys.argv[2:]:
    model = keras.models.load_model(file, compile=False)
    answers = [model.predict_on_batch(part) for part in np.split(images, [1, 3, 10])]
    np.save(file + ".npy", np.concatenate(answers))
"""


def version(folder: Path, kind: str, **given) -> Path:
    """Return a version's folder with a network whose statistics are not those of a fresh one."""
    torch.manual_seed(0)
    network = NETWORKS[kind](**SIZES, **given)
    network.set_normalization(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 0.7, 3.0]))
    network.train()
    for _ in range(3):
        network(torch.randn(8, 3, 17, 11) * 2)
    folder.mkdir()
    export(network, np.zeros((2, 3, 17, 11), dtype=np.float32), folder / "model.onnx")
    save_file(network.state_dict(), folder / "model.safetensors")
    told = {"architecture": kind, "arguments": {**SIZES, **given}}
    (folder / "model_info.json").write_text(json.dumps(told))
    return folder


@NEEDS_KERAS
def test_a_fresh_keras_reads_both_kinds_of_files_and_answers_alike(tmp_path):
    first = version(tmp_path / "v0001", "cnn", linear_images=2)
    text = (first / "model_info.json").read_text()  # as version 0.1 called it
    (first / "model_info.json").write_text(text.replace("linear_images", "second_opinion"))
    second = version(tmp_path / "v0002", "resnet", linear_images=0)
    files = {tmp_path / "model.keras": first, tmp_path / "model.h5": second}
    for file, folder in files.items():
        keras_files.write_keras_file(folder, file)
    images = np.random.default_rng(1).normal(size=(64, 3, 17, 11)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    environment = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path), "PATH": "/usr/bin"}
    program = [sys.executable, "-c", IN_KERAS, str(tmp_path / "images.npy"), *map(str, files)]
    subprocess.run(program, check=True, env=environment)
    for file, folder in files.items():
        expected = OnnxModel(folder / "model.onnx")(images)
        np.testing.assert_allclose(np.load(f"{file}.npy"), expected, atol=1e-4, rtol=1e-4)


@NEEDS_KERAS
def test_a_file_that_answers_otherwise_is_not_offered(tmp_path):
    folder = version(tmp_path / "v0001", "cnn", linear_images=2)
    weights = load_file(folder / "model.safetensors")
    weights["rule.weight"] = weights["rule.weight"].flip(0).contiguous()
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ParityFailed):
        keras_files.write_keras_file(folder, tmp_path / "model.keras")


def test_without_keras_no_process_is_started_to_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("prediction.damage.requests.find_spec", lambda name: None)
    intake = DamageParser()
    with pytest.raises(MissingExtra, match=r"pip install .* -r requirements-keras.txt"):
        intake.has_download("model.keras")
    assert not intake.has_download("model.onnx.bak")


def test_without_keras_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    folder = version(tmp_path / "v0001", "cnn")
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtra, match=r"pip install .* -r requirements-keras.txt"):
        keras_files.write_keras_file(folder, tmp_path / "model.keras")
    assert (PROJECT / "requirements-keras.txt").exists()
    assert not (tmp_path / "model.keras").exists()


@NEEDS_KERAS
def test_nothing_is_left_in_the_home_folder(tmp_path, monkeypatch):
    folder = version(tmp_path / "v0001", "cnn")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    keras_files.write_keras_file(folder, tmp_path / "model.h5")
    assert not (tmp_path / "home").exists()
