"""``millwright export``: export a damage model to TensorFlow as a SavedModel and a bundle for TensorFlow Serving.

TensorFlow takes 1.6 GB, so it lives in an environment of its own, which is created where it does not exist.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from pathlib import Path
from typing import Annotated, TypedDict

import numpy as np
import typer

from cli.console import CommandGroup, JSONFlag, echo, echo_json
from errors import InvalidContent, NotFound, TrainingFailed
from settings import PROJECT
from storage.filesystem.checked_write import save_arrays

app = CommandGroup("Export a damage model to TensorFlow.")

REQUIREMENTS = PROJECT / "requirements-tensorflow.txt"
EXPORTER = Path(__file__).with_name("savedmodel_in_tensorflow.py")
NUM_EXAMPLES = 64
REQUIRED_FILES = ("model.onnx", "model.safetensors", "model_info.json")


class ExportResult(TypedDict):
    """Paths of what was exported, and the largest difference from model.onnx."""

    saved_model: str
    bundle: str
    deviation: float


def export(model: Path, output: Path, tensorflow_env: Path, name: str) -> ExportResult:
    """Create ``<output>/<name>/1`` (the SavedModel) and ``<output>/<name>-serving.zip``.

    Raises
    ------
    NotFound
        The folder has no damage model.
    MissingExtra
        Keras is not installed here.
    TrainingFailed
        TensorFlow failed, or the SavedModel does not answer like model.onnx.
    """
    from prediction.damage.serving import keras_files
    from prediction.onnx import OnnxModel

    if missing := [file for file in REQUIRED_FILES if not (model / file).is_file()]:
        raise NotFound(f"{model} is not the folder of a damage model: {', '.join(missing)} is missing")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        keras_files.write_keras_file(model, work / "model.keras")
        info = json.loads((model / "model_info.json").read_text(encoding="utf-8"))
        images = np.random.default_rng(0).normal(size=(NUM_EXAMPLES, *info["input_shape"])).astype(np.float32)
        save_arrays(work / "expected.npz", images=images, logits=OnnxModel(model / "model.onnx")(images))
        task = {
            "keras": str(work / "model.keras"),
            "expected": str(work / "expected.npz"),
            "info": str(model / "model_info.json"),
            "out": str(output.absolute()),
            "name": name,
        }
        return _run_exporter(prepare_environment(tensorflow_env), task)


def prepare_environment(folder: Path) -> Path:
    """Return the Python of the environment with TensorFlow; create it where there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import tensorflow"], capture_output=True, check=False).returncode:
        echo(f"Installing TensorFlow (1.6 GB) into {folder}")
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
        if subprocess.run(command, check=False).returncode:
            raise TrainingFailed(f"TensorFlow could not be installed into {folder}; see pip's message above")
    return python


def _run_exporter(python: Path, task: dict[str, str]) -> ExportResult:
    command = [str(python), "-I", str(EXPORTER), json.dumps(task)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        last_line = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrainingFailed(f"TensorFlow made no SavedModel: {last_line}")
    # TensorFlow writes notes to standard output, too; the result is the last line.
    result: ExportResult = json.loads(process.stdout.strip().splitlines()[-1])
    return result


@app.command()
def savedmodel(
    *,
    model: Annotated[Path, typer.Option(help="Folder with the files of a version of a damage model.")],
    output: Annotated[Path, typer.Option(help="Folder that receives SavedModel and bundle.")],
    tensorflow_env: Annotated[Path, typer.Option(help="Environment with TensorFlow.")] = Path(
        ".venv-tensorflow"
    ),
    name: Annotated[str, typer.Option(help="Name of the model in TensorFlow Serving.")] = "damage",
    as_json: JSONFlag = False,
) -> None:
    """Export a damage model as a TensorFlow SavedModel and a bundle for TensorFlow Serving.

    The folder is the save folder of `millwright train damage`, or models/TENANT/damage/NAME/v0001.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidContent(f"{name!r} is not a valid model name: use letters, digits, '-' and '_'")
    result = export(model, output, tensorflow_env, name)
    if as_json:
        echo_json({"success": True, **result})
        return
    difference = f"largest difference {result['deviation']:.2g}"
    echo(f"{result['saved_model']} answers like model.onnx ({difference})")
    echo(f"{result['bundle']} is for TensorFlow Serving")
