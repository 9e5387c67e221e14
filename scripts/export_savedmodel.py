"""Makes a TensorFlow SavedModel, and a bundle for TensorFlow Serving, of a damage model.

``python scripts/export_savedmodel.py --model DIR --out DIR``. The model's folder holds the files of a
version: the save folder of ``scripts/train_damage.py``, or ``models/<tenant>/damage/<name>/v0001``.
TensorFlow (1.6 GB) lives in an environment of its own, which is made first where it is not there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.console import say, told
from errors import InvalidContent, NotFound, TrainingFailed
from settings import PROJECT

REQUIREMENTS = PROJECT / "requirements-tensorflow.txt"
MAKER = Path(__file__).with_name("savedmodel_in_tensorflow.py")
EXAMPLES = 64
NEEDED = ("model.onnx", "model.safetensors", "model_info.json")


def export(model: Path, out: Path, environment: Path, name: str) -> dict[str, Any]:
    """Make ``<out>/<name>/1`` (the SavedModel) and ``<out>/<name>-serving.zip``; both answer like model.onnx.

    Returns
    -------
    dict
        ``saved_model``, ``bundle`` (paths) and ``deviation``, the largest difference from model.onnx.

    Raises
    ------
    NotFound
        The folder holds no damage model.
    MissingExtra
        Keras is not installed here.
    TrainingFailed
        TensorFlow refused, or the SavedModel does not answer like model.onnx.
    """
    from prediction.damage.serving import keras_files
    from prediction.onnx import OnnxModel

    if missing := [file for file in NEEDED if not (model / file).is_file()]:
        raise NotFound(f"{model} is no folder of a damage model: {', '.join(missing)} is not there")
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        keras_files.write_keras_file(model, work / "model.keras")
        info = json.loads((model / "model_info.json").read_text(encoding="utf-8"))
        images = np.random.default_rng(0).normal(size=(EXAMPLES, *info["input_shape"])).astype(np.float32)
        np.savez(work / "expected.npz", images=images, logits=OnnxModel(model / "model.onnx")(images))
        task = {
            "keras": str(work / "model.keras"),
            "expected": str(work / "expected.npz"),
            "info": str(model / "model_info.json"),
            "out": str(out.absolute()),
            "name": name,
        }
        return _made(python_of(environment), task)


def python_of(environment: Path) -> Path:
    """Python of the environment with TensorFlow, which is made where there is none."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    if subprocess.run([python, "-c", "import tensorflow"], capture_output=True, check=False).returncode:
        say(f"Installing TensorFlow (1.6 GB) into {environment}")
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
        if subprocess.run(command, check=False).returncode:
            raise TrainingFailed(f"TensorFlow could not be installed into {environment}; pip says why above")
    return python


def _made(python: Path, task: dict[str, Any]) -> dict[str, Any]:
    command = [str(python), "-I", str(MAKER), json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrainingFailed(f"TensorFlow made no SavedModel: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main(
    *,
    model: Annotated[Path, typer.Option(help="Folder with the files of a damage model's version.")],
    out: Annotated[Path, typer.Option(help="Folder that receives SavedModel and bundle.")],
    environment: Annotated[Path, typer.Option(help="Environment with TensorFlow.")] = Path(
        ".venv-tensorflow"
    ),
    name: Annotated[str, typer.Option(help="The model's name in TensorFlow Serving.")] = "damage",
) -> None:
    """Make a TensorFlow SavedModel and a serving bundle of a damage model."""
    with told(as_json=False):
        if not name.replace("-", "").replace("_", "").isalnum():
            raise InvalidContent(f"{name!r} cannot be a model's name: use letters, digits, '-' and '_'")
        done = export(model, out, environment, name)
    say(f"{done['saved_model']} answers like model.onnx (largest difference {done['deviation']:.2g})")
    say(f"{done['bundle']} is for TensorFlow Serving")


if __name__ == "__main__":
    typer.run(main)
