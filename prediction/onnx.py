"""Export a network, run both, compare, or raise; and run the export without torch.

Only :func:`export` and :func:`prove_parity` touch torch, which they import when called: a web worker uses
:class:`OnnxModel` alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from errors import ParityFailed

if TYPE_CHECKING:
    from torch import nn

PARITY_BATCH_SIZES = (1, 2, 7, 64)
"""A recurrent network exported with one example can be right for one window and wrong for two."""
_BATCH = 256
BatchFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A batch of examples in, one output an example out."""


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

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs for any number of examples, computed batch by batch."""
        starts: Iterable[int] = range(0, max(1, len(inputs)), _BATCH)
        return np.concatenate([self._run(inputs[start : start + _BATCH]) for start in starts])

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        feed = {self._input: np.ascontiguousarray(batch, dtype=np.float32)}
        output: NDArray[np.float32] = self._session.run(None, feed)[0]
        return output


def export(network: nn.Module, example: NDArray[np.float32], path: Path) -> None:
    """Write an ONNX file with the tensors ``input`` and ``output`` and a free batch size.

    Uses torch's TorchScript-based exporter: it writes in 0.1 s what the newer one takes 7 s for, and the two
    answer alike. It is deprecated, so the version of torch is pinned; :func:`prove_parity` has the last word.

    Parameters
    ----------
    example : ndarray
        Two or more examples ``(batch, …)``: with one, a batch of one could be baked in.
    """
    import torch

    network.eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(np.array(example, dtype=np.float32)),),
            str(path),
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )


def check_parity(
    network: nn.Module, path: Path, examples: NDArray[np.float32], rtol: float = 1e-4, atol: float = 1e-5
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

    def answered(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output: NDArray[np.float32] = network(torch.from_numpy(batch)).numpy()
        return output

    network.eval()
    return check_outputs_match(answered, OnnxModel(path), examples, rtol, atol)


def check_outputs_match(
    original: BatchFunction,
    exported: BatchFunction,
    examples: NDArray[np.float32],
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> float:
    """The same for any two that answer batches: the copy must answer like the original."""
    return max(
        _deviation(original(batch), exported, batch, rtol, atol)
        for batch in (_of_size(examples, size) for size in PARITY_BATCH_SIZES)
    )


def _deviation(
    expected: NDArray[np.float32],
    exported: BatchFunction,
    batch: NDArray[np.float32],
    rtol: float,
    atol: float,
) -> float:
    refusal = ParityFailed(
        f"The exported network does not answer like the trained one in a batch of {len(batch)}. "
        "Nothing has changed."
    )
    try:
        given = exported(batch)
    except Exception as error:  # what onnxruntime raises shares no better base
        raise refusal from error
    if given.shape != expected.shape or not np.allclose(given, expected, rtol=rtol, atol=atol):
        raise refusal
    return float(np.abs(given - expected).max())


def _of_size(examples: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Exactly ``size`` examples, repeated where there are fewer."""
    rows = np.arange(size) % len(examples)
    return np.ascontiguousarray(examples[rows], dtype=np.float32)
