"""An export answers like the network it came from at every batch size, or it is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from errors import ParityFailed
from prediction.onnx import PARITY_BATCH_SIZES, OnnxModel, check_parity, export
from prediction.options import MAX_ONNX_OPSET, MIN_ONNX_OPSET


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 8, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(16, 4)

    def forward(self, window):
        return self.fc(self.rnn(window)[0][:, -1])


@pytest.fixture
def windows():
    return np.random.default_rng(0).normal(size=(10, 12, 3)).astype(np.float32)


@pytest.fixture
def exported(windows, tmp_path):
    torch.manual_seed(0)
    network = Recurrent()
    export(network, windows[:2], tmp_path / "model.onnx")
    return network, tmp_path / "model.onnx"


def test_a_recurrent_network_is_right_at_every_batch_size(exported, windows):
    network, path = exported
    assert check_parity(network, path, windows, rtol=1e-3, atol=1e-5) < 1e-5
    assert PARITY_BATCH_SIZES == (1, 2, 7, 64)


@pytest.mark.parametrize("opset", [MIN_ONNX_OPSET, MAX_ONNX_OPSET])
def test_the_version_of_the_operators_can_be_chosen(exported, windows, opset):
    network, path = exported
    export(network, windows[:2], path, opset)
    assert [entry.version for entry in onnx.load(path).opset_import] == [opset]
    assert check_parity(network, path, windows, rtol=1e-3, atol=1e-5) < 1e-5


def test_another_network_is_refused(exported, windows):
    _, path = exported
    torch.manual_seed(1)
    with pytest.raises(ParityFailed, match="does not answer like the trained one in a batch of 1"):
        check_parity(Recurrent(), path, windows)


def test_a_baked_in_batch_size_is_refused(windows, tmp_path):
    class Fixed(nn.Module):
        def forward(self, window):
            return window.reshape(int(window.shape[0]), 36)

    export(Fixed(), windows[:2], tmp_path / "fixed.onnx")
    with pytest.raises(ParityFailed, match=r"cannot be run with a batch of 1 \(Fail: .*Reshape"):
        check_parity(Fixed(), tmp_path / "fixed.onnx", windows)


def test_the_tensors_have_their_names_and_the_batch_is_free(exported):
    graph = onnx.load(exported[1]).graph
    assert [graph.input[0].name, graph.output[0].name] == ["input", "output"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_many_examples_are_computed_in_batches(exported, windows):
    model = OnnxModel(exported[1])
    many = np.tile(windows, (60, 1, 1))
    np.testing.assert_allclose(model(many)[-10:], model(windows), atol=1e-6)
