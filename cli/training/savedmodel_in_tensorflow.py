"""The part of the export that runs in the environment with TensorFlow; it imports nothing of Millwright."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

BATCH_SIZES = (1, 2, 7, 64)
TOLERANCE = 1e-4
VERSION = "1"
README = """Serve it:

    tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path="$PWD/{name}"

Ask it (request.json holds one image of random numbers, response.json the expected answer):

    curl -d @request.json http://127.0.0.1:8501/v1/models/{name}:predict

It takes images as model_info.json describes them under "sound", and returns logits; divide them by
"temperature" and apply the softmax for the probabilities of "classes".
"""


def main(task: dict[str, str]) -> dict[str, str | float]:
    """Open the .keras file, export it, load the export, compare and pack."""
    network = keras.models.load_model(task["keras"], compile=False)
    folder = Path(task["out"]) / task["name"]
    shutil.rmtree(folder, ignore_errors=True)
    network.export(folder / VERSION, format="tf_saved_model", verbose=False)
    with np.load(task["expected"]) as expected:
        images, logits = expected["images"], expected["logits"]
    deviation = compare(folder / VERSION, images, logits)
    bundle = pack(folder, task["name"], Path(task["info"]), images[:1], logits[:1])
    return {"saved_model": str(folder / VERSION), "bundle": str(bundle), "deviation": deviation}


def compare(saved_model: Path, images: np.ndarray, logits: np.ndarray) -> float:
    """Return the largest difference from the expected logits over several batch sizes."""
    serve = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    (argument,) = serve.structured_input_signature[1]
    deviation = 0.0
    for size in BATCH_SIZES:
        (tensor,) = serve(**{argument: tf.constant(images[:size])}).values()
        expected = logits[:size]
        if tensor.shape != expected.shape or not np.allclose(tensor, expected, rtol=1e-4, atol=TOLERANCE):
            sys.exit(f"the SavedModel does not answer like model.onnx in a batch of {size}")
        deviation = max(deviation, float(np.abs(tensor.numpy() - expected).max()))
    return deviation


def pack(folder: Path, name: str, info: Path, image: np.ndarray, logits: np.ndarray) -> Path:
    """Write a zip with the SavedModel, the model's description, an example and a README."""
    bundle = folder.with_name(f"{name}-serving.zip")
    texts = {
        "README.txt": README.format(name=name),
        "request.json": json.dumps({"instances": image.tolist()}),
        "response.json": json.dumps({"predictions": logits.tolist()}),
        "model_info.json": info.read_text(encoding="utf-8"),
    }
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder.parent))
        for file_name, text in texts.items():
            archive.writestr(file_name, text)
    return bundle


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))) + "\n")
