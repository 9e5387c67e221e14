"""Products in integers: nearly the same numbers, and the same whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from prediction.scoring.embedding.quantization import quantize_matmuls

Floats = NDArray[np.float32]
WIDTH, HIDDEN = 64, 96


def network(path: Path, weights: Floats) -> None:
    """Two products of the same values with weights, then one of two computed tensors."""
    nodes = [
        helper.make_node("MatMul", ["values", "first"], ["a"]),
        helper.make_node("MatMul", ["values", "second"], ["b"]),
        helper.make_node("Transpose", ["b"], ["bt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["a", "bt"], ["product"]),
    ]
    shape: list[str | int | None] = ["texts", "tokens", WIDTH]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(half, name)
            for half, name in zip(weights, ("first", "second"), strict=True)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)


def make_inputs(path: Path) -> Callable[[Floats], Floats]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, {"values": values})[0]


@pytest.fixture
def both(tmp_path: Path) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    weights = np.random.default_rng(1).normal(size=(2, WIDTH, HIDDEN)).astype(np.float32)
    weights[0, :, 5] *= 40  # one output far larger than the others has a scale of its own
    network(tmp_path / "floats.onnx", weights)
    quantize_matmuls(tmp_path / "floats.onnx", tmp_path / "integers.onnx")
    return make_inputs(tmp_path / "floats.onnx"), make_inputs(tmp_path / "integers.onnx")


def values(texts: int, largest: float = 1.0) -> Floats:
    made = np.random.default_rng(texts).normal(size=(texts, 7, WIDTH)).astype(np.float32)
    return made * np.float32(largest)


def test_answers_stay_close_to_the_floats(both):
    floats, integers = both
    expected = floats(values(9))
    assert np.abs(integers(values(9)) - expected).max() < 0.05 * np.abs(expected).max()
    assert not np.array_equal(integers(values(9)), expected)


def test_a_text_has_one_answer_whatever_travels_with_it(both):
    _, integers = both
    batch = np.concatenate([values(3), values(4, largest=1000.0)])
    alone = np.concatenate([integers(text[None]) for text in batch])
    np.testing.assert_allclose(integers(batch), alone, rtol=1e-6)


def test_tokens_of_zeros_are_no_accident(both):
    _, integers = both
    assert np.array_equal(integers(np.zeros((2, 3, WIDTH), np.float32)), np.zeros((2, 3, 3), np.float32))


def test_only_products_with_weights_change(tmp_path, both):
    operators = [node.op_type for node in onnx.load(tmp_path / "integers.onnx").graph.node]
    assert operators.count("MatMulIntegerToFloat") == 2
    assert operators.count("MatMul") == 1
    assert operators.count("QuantizeLinear") == 1, "values used twice are turned into integers once"
