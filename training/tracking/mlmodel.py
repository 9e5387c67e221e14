"""The file ``MLmodel``, by which MLflow's own tools load the network of a version. Only the uploader imports this."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from onnxruntime import NodeArg

log = structlog.get_logger()

FILE: Final = "MLmodel"
_SAME_NAMES: Final = [
    "float16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
]
# MLflow names the types of tensors as NumPy does.
_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in _SAME_NAMES},
}


def describe_network(folder: Path, run_id: str, created_at: str) -> dict[str, object] | None:
    """Return the description of a version's network as an MLflow model.

    None where there is not exactly one, or where it takes or returns what is no tensor of numbers: the version is
    tracked all the same.

    Parameters
    ----------
    folder : Path
        Of the version.
    created_at : str
        UTC, such as ``2026-11-20 20:02:50.984345``.
    """
    import onnxruntime

    networks = sorted(folder.glob("*.onnx"))
    if len(networks) != 1:
        return None
    (network,) = networks
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    unknown = {tensor.type for tensor in [*session.get_inputs(), *session.get_outputs()]} - set(_DTYPES)
    if unknown:
        log.warning("network_not_described", network=network.name, types=sorted(unknown))
        return None
    inputs, outputs = map(_describe_tensors, (session.get_inputs(), session.get_outputs()))
    return {
        "artifact_path": "version",
        "run_id": run_id,
        "utc_time_created": created_at,
        "flavors": {
            "onnx": {
                "data": network.name,
                "onnx_version": version("onnx"),
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {"loader_module": "mlflow.onnx", "data": network.name},
        },
        "signature": {"inputs": inputs, "outputs": outputs, "params": None},
    }


def _describe_tensors(tensors: Iterable[NodeArg]) -> str:
    """Return the schema of tensors as MLflow writes it: JSON within the file; an open dimension is -1."""
    return json.dumps(
        [
            {
                "name": tensor.name,
                "type": "tensor",
                "tensor-spec": {
                    "dtype": _DTYPES[tensor.type],
                    "shape": [size if isinstance(size, int) else -1 for size in tensor.shape],
                },
            }
            for tensor in tensors
        ]
    )
