"""Compute the matrix products of an exported sentence model in 8-bit integers: twice as fast, half as big.

Every token's values get a scale of their own and so does every output (Dettmers et al., "LLM.int8()",
NeurIPS 2022, vector-wise quantization). So a text has one vector, whatever other texts are in its batch, which
scales over a whole batch would not give. Weights keep 7 bits: then the 16-bit sums of pairs that older
processors form cannot overflow, and every machine computes the same products.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from storage.filesystem.checked_write import write_checked

MAX_VALUE, MAX_WEIGHT = 127, 63
# Of ONNX Runtime's fused product; the standard's own needs two more passes over its result.
DOMAIN = "com.microsoft"

_CONSTANTS: dict[str, NDArray[np.generic]] = {
    "integers.last_axis": np.array([-1], np.int64),
    "integers.per_step": np.array(1 / MAX_VALUE, np.float32),
    "integers.least": np.array(1e-9, np.float32),
    "integers.one": np.array(1.0, np.float32),
    "integers.zero": np.array(128, np.uint8),
}


def quantize_matmuls(floats: Path, integers: Path) -> None:
    """Write a copy of an exported network that multiplies values by weights in integers."""
    model = onnx.load(floats)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    constants = [numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items()]
    quantized: set[str] = set()
    for node in model.graph.node:
        is_product = node.op_type == "MatMul" and node.input[1] in weights
        if not is_product or len(weights[node.input[1]].dims) != 2:
            nodes.append(node)
            continue
        values, weight = node.input
        # Several products may read the same values: they are converted once.
        nodes += [] if values in quantized else _quantize_values(values)
        # The product in integers, then times both scales.
        product = f"{node.output[0]}.unscaled"
        factors = [
            f"{values}.integers",
            f"{weight}.integers",
            "integers.one",
            f"{weight}.scale",
            "integers.zero",
        ]
        nodes.append(helper.make_node("MatMulIntegerToFloat", factors, [product], domain=DOMAIN))
        nodes.append(helper.make_node("Mul", [product, f"{values}.scale"], [node.output[0]]))
        constants += _quantize_weights(weights.pop(weight))
        quantized.add(values)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*weights.values(), *constants])
    write_checked(integers, model.SerializeToString())


def _quantize_values(values: str) -> Iterator[NodeProto]:
    """Yield the nodes that turn values into whole numbers around 128, and compute each token's scale."""
    node = helper.make_node
    yield node("Abs", [values], [f"{values}.size"])
    yield node("ReduceMax", [f"{values}.size", "integers.last_axis"], [f"{values}.largest"], keepdims=1)
    yield node("Mul", [f"{values}.largest", "integers.per_step"], [f"{values}.step"])
    yield node("Max", [f"{values}.step", "integers.least"], [f"{values}.scale"])
    yield node("Div", [values, f"{values}.scale"], [f"{values}.scaled"])
    shifted = [f"{values}.scaled", "integers.one", "integers.zero"]
    yield node("QuantizeLinear", shifted, [f"{values}.integers"])


def _quantize_weights(weight: TensorProto) -> Iterator[TensorProto]:
    """Yield the weights as whole numbers, and the scale of each output."""
    floats = numpy_helper.to_array(weight)
    scale = np.maximum(np.abs(floats).max(axis=0) / MAX_WEIGHT, 1e-12).astype(np.float32)
    yield numpy_helper.from_array(np.rint(floats / scale).astype(np.int8), f"{weight.name}.integers")
    yield numpy_helper.from_array(scale, f"{weight.name}.scale")
