"""Export networks to ONNX, check the export against the network, and run it without torch.

Only :func:`export` and :func:`check_parity` need torch and import it when called: a web worker uses
:class:`OnnxModel` alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from errors import ParityFailed, describe_error
from storage.filesystem.checked_write import write_checked

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float32]
# A batch of examples in, one output for each example out.
BatchFunction = Callable[[Floats], Floats]

# A recurrent network that was exported with one example can be right for one window and wrong for two.
PARITY_BATCH_SIZES: Final = (1, 2, 7, 64)
_BATCH_SIZE: Final = 256


class OnnxModel:
    """An exported network on one compute thread; several threads of a process may share it.

    Parameters
    ----------
    path : Path
        File written by :func:`export`: one tensor in, one out, the first index is the batch.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, inputs: Floats) -> Floats:
        """Return the outputs for any number of examples, computed in batches."""
        starts: Iterable[int] = range(0, max(1, len(inputs)), _BATCH_SIZE)
        batches = (np.ascontiguousarray(inputs[s : s + _BATCH_SIZE], dtype=np.float32) for s in starts)
        return np.concatenate([self._session.run(None, {self._input: batch})[0] for batch in batches])


def export(network: nn.Module, example: Floats, path: Path, opset: int | None = None) -> None:
    """Write an ONNX file with the tensors ``input`` and ``output`` and a free batch size.

    Parameters
    ----------
    example : ndarray
        Two or more examples ``(batch, …)``: with one, a batch of one could be baked in.
    opset : int, optional
        Version of the operators; by default the newest that the exporter writes.
    """
    import torch

    network.eval()
    exported = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(np.array(example, dtype=np.float32)),),
            exported,  # type: ignore[arg-type]  # the TorchScript exporter takes a stream
            # The TorchScript exporter takes 0.1 s where the newer one takes 7 s, and their files give the
            # same outputs. It is deprecated, so the version of torch is pinned; check_parity decides.
            dynamo=False,
            opset_version=opset,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )
    write_checked(path, exported.getbuffer())


def check_parity(
    network: nn.Module, path: Path, examples: Floats, rtol: float = 1e-4, atol: float = 1e-5
) -> float:
    """Run network and export on the same examples in batches of 1, 2, 7 and 64.

    Returns
    -------
    float
        The largest absolute difference.

    Raises
    ------
    ParityFailed
        An output differs by more than ``atol + rtol * |expected|``, or is not a number.
    """
    import torch

    def run_network(batch: Floats) -> Floats:
        with torch.inference_mode():
            output: Floats = network(torch.from_numpy(batch)).numpy()
        return output

    network.eval()
    return check_outputs_match(run_network, OnnxModel(path), examples, rtol, atol)


def check_outputs_match(
    original: BatchFunction, exported: BatchFunction, examples: Floats, rtol: float = 1e-4, atol: float = 1e-5
) -> float:
    """Compare two functions of batches like :func:`check_parity`; the second must equal the first."""
    deviation = 0.0
    for size in PARITY_BATCH_SIZES:
        # Repeats examples where there are fewer than the batch needs.
        batch = np.ascontiguousarray(examples[np.arange(size) % len(examples)], dtype=np.float32)
        expected = original(batch)
        try:
            output = exported(batch)
        except Exception as error:  # the exceptions of onnxruntime share no narrower base
            raise ParityFailed(
                f"The exported network cannot be run with a batch of {size} ({describe_error(error).strip()}). "
                "Nothing has changed."
            ) from error
        if output.shape != expected.shape or not np.allclose(output, expected, rtol=rtol, atol=atol):
            raise ParityFailed(
                f"The exported network does not answer like the trained one in a batch of {size}. "
                "Nothing has changed."
            )
        deviation = max(deviation, float(np.abs(output - expected).max()))
    return deviation
