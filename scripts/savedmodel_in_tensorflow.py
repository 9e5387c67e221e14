"""The half of export_savedmodel.py that runs in the environment with TensorFlow; imports nothing of ours."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

BATCHES = (1, 2, 7, 64)
TOLERANCE = 1e-4
VERSION = "1"
HOW = """Serve it:

    tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path="$PWD/{name}"

Ask it (request.json holds one image of random numbers, response.json what must come back):

    curl -d @request.json http://127.0.0.1:8501/v1/models/{name}:predict

It takes images as model_info.json describes them under "sound", and tells logits; divide them by
"temperature" and take the softmax for the chances of "classes".
"""


def main(task: dict[str, Any]) -> dict[str, Any]:
    """Open the .keras file, export, load again, compare, and pack."""
    network = keras.models.load_model(task["keras"], compile=False)
    home = Path(task["out"]) / task["name"]
    shutil.rmtree(home, ignore_errors=True)
    network.export(home / VERSION, format="tf_saved_model", verbose=False)
    with np.load(task["expected"]) as known:
        images, logits = known["images"], known["logits"]
    deviation = compared(home / VERSION, images, logits)
    bundle = packed(home, task["name"], Path(task["info"]), images[:1], logits[:1])
    return {"saved_model": str(home / VERSION), "bundle": str(bundle), "deviation": deviation}


def compared(saved: Path, images: np.ndarray, logits: np.ndarray) -> float:
    """The largest difference from what is expected, in batches of 1, 2, 7 and 64."""
    serve = tf.saved_model.load(str(saved)).signatures["serving_default"]
    (argument,) = serve.structured_input_signature[1]
    deviation = 0.0
    for size in BATCHES:
        (told,) = serve(**{argument: tf.constant(images[:size])}).values()
        if told.shape != logits[:size].shape or not np.allclose(
            told, logits[:size], rtol=1e-4, atol=TOLERANCE
        ):
            sys.exit(f"the SavedModel does not answer like model.onnx in a batch of {size}")
        deviation = max(deviation, float(np.abs(told.numpy() - logits[:size]).max()))
    return deviation


def packed(home: Path, name: str, info: Path, image: np.ndarray, logits: np.ndarray) -> Path:
    """One zip with the SavedModel, what is known of the model, an example and how to serve it."""
    bundle = home.with_name(f"{name}-serving.zip")
    texts = {
        "README.txt": HOW.format(name=name),
        "request.json": json.dumps({"instances": image.tolist()}),
        "response.json": json.dumps({"predictions": logits.tolist()}),
        "model_info.json": info.read_text(encoding="utf-8"),
    }
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in home.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(home.parent))
        for file_name, text in texts.items():
            archive.writestr(file_name, text)
    return bundle


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))) + "\n")
