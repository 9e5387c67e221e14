"""Every download opens the way its user would open it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.preprocessing import StandardScaler

from prediction.forecasting.networks import ARCHITECTURES, BiLSTM, Conv1DLSTM

PROJECT = Path(__file__).resolve().parents[3]
FRESH = """
import json, sys
import joblib, numpy as np, torch
from prediction.forecasting.networks import ARCHITECTURES
folder, rows = sys.argv[1], np.array(json.loads(sys.argv[2]))
info = json.load(open(f"{folder}/model_info.json"))
scaler = joblib.load(f"{folder}/scaler.joblib")
network = ARCHITECTURES[info["architecture"]](**info["arguments"])
network.load_state_dict(torch.load(f"{folder}/model.pth", weights_only=True))
window = torch.tensor(scaler.transform(rows[-info["window_size"]:]), dtype=torch.float32)
with torch.no_grad():
    z = network.eval()(window[None]).reshape(info["future_steps"], -1).numpy()
targets = info["target_indices"]
print(json.dumps((z * scaler.scale_[targets] + scaler.mean_[targets]).tolist()))
"""


def test_everything_promised_is_there(trained):
    _, _, _, folder = trained
    assert {path.name for path in folder.iterdir()} == {
        "model.pth", "scaler.joblib", "model.onnx", "model.safetensors", "model_info.json",
        "training_history.json", "forecast.png", "intervals.npz",
    }  # fmt: skip


def test_a_fresh_process_forecasts_from_three_files_alone(trained, tmp_path):
    plant, model, prepared, folder = trained
    for name in ("model.pth", "scaler.joblib", "model_info.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    probe = plant.family.build_probe(model, prepared)
    rows = [[row["load"], row["oil"]] for row in probe.inputs[5]["rows"]]
    command = [sys.executable, "-c", FRESH, str(tmp_path), json.dumps(rows)]
    said = json.loads(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout)
    expected = [probe.expected[5]["targets"][name]["values"] for name in ("oil", "load")]
    np.testing.assert_allclose(np.array(said).T, expected, atol=1e-3)


def test_model_info_says_how_the_weights_are_opened(trained, monkeypatch):
    _, model, prepared, folder = trained
    monkeypatch.chdir(folder)
    opened: dict = {}
    exec("\n".join(json.loads((folder / "model_info.json").read_text())["pytorch"]["load"]), opened)
    window = torch.from_numpy(prepared.test.histories(prepared.test.starts[:3]))
    with torch.no_grad():
        assert torch.equal(opened["network"](window), model.network(window))


def test_the_weights_of_a_bilstm_load_into_somebody_elses_class():
    class Own(torch.nn.Module):
        def __init__(self, input_size, hidden_size, num_layers, output_size, dropout):
            super().__init__()
            self.rnn = torch.nn.LSTM(
                input_size, hidden_size, num_layers, batch_first=True, bidirectional=True, dropout=dropout
            )
            self.fc = torch.nn.Linear(2 * hidden_size, output_size)

        def forward(self, window):
            _, (last, _) = self.rnn(window - window[:, -1:])
            return self.fc(torch.cat([last[-2], last[-1]], 1)) + window[:, -1, [2, 0]].repeat(1, 5)

    network = BiLSTM(3, 8, 2, 10, 0.1).eval()
    network.set_targets([2, 0], residual_to_last=True)
    own = Own(3, 8, 2, 10, 0.1).eval()
    keys = own.load_state_dict(network.state_dict(), strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == ([], ["target_columns", "residual_to_last"])
    window = torch.randn(4, 12, 3)
    torch.testing.assert_close(own(window), network(window))


def test_the_scaler_is_a_fitted_standard_scaler(trained):
    plant, _, prepared, folder = trained
    scaler = joblib.load(folder / "scaler.joblib")
    rows = plant.store.get(plant.dataset).table().values[: prepared.certificate.train[-1][1] + 1]
    fit = StandardScaler().fit(rows)
    np.testing.assert_allclose(scaler.transform(rows), fit.transform(rows), atol=1e-9)


def test_weights_are_the_same_in_every_format(trained):
    _, model, prepared, folder = trained
    window = prepared.test.histories(prepared.test.starts[:3])
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    with torch.no_grad():
        expected = model.network(torch.from_numpy(window)).numpy()
    np.testing.assert_allclose(session.run(["output"], {"input": window})[0], expected, atol=1e-5)
    tensors = load_file(folder / "model.safetensors")
    for name, value in torch.load(folder / "model.pth", weights_only=True).items():
        np.testing.assert_array_equal(value.numpy(), tensors[name])


def test_the_history_has_an_entry_an_epoch(trained):
    _, _, _, folder = trained
    told = json.loads((folder / "training_history.json").read_text())
    assert [entry["epoch"] for entry in told["epochs"]] == list(range(1, 7))
    assert told["epochs"][0].keys() >= {"train_loss", "val_loss", "learning_rate"}
    assert 1 <= told["best_epoch"] <= 6


def test_the_chart_is_a_png(trained):
    _, _, _, folder = trained
    assert (folder / "forecast.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_nothing_in_the_version_names_this_machine(trained):
    plant, _, _, folder = trained
    for name in ("model_info.json", "training_history.json"):
        assert str(plant.folder) not in (folder / name).read_text()


@pytest.mark.parametrize("network", [BiLSTM, Conv1DLSTM])
def test_the_classes_take_their_sizes_by_the_documented_names(network):
    sizes = {"input_size": 3, "hidden_size": 8, "num_layers": 2, "output_size": 10, "dropout": 0.1}
    more = {"conv_filters": 4, "kernel_size": 5} if network is Conv1DLSTM else {}
    assert network(**sizes, **more)(torch.zeros(2, 12, 3)).shape == (2, 10)


def test_a_version_of_0_1_is_read(trained, tmp_path):
    plant, model, prepared, folder = trained
    old = Path(shutil.copytree(folder, tmp_path / "v0001"))
    info = json.loads((old / "model_info.json").read_text())
    for name in ("model_used", "season"):
        del info[name]
    (old / "model_info.json").write_text(json.dumps(info))
    predictor = plant.load(old)
    plant.check_parity(predictor, model, prepared)
    weights = torch.load(folder / "model.pth", weights_only=True)
    weights["anchored"] = weights.pop("residual_to_last")
    network = ARCHITECTURES[info["architecture"]](**info["arguments"])
    network.load_state_dict(weights)
    assert torch.equal(network.residual_to_last, model.network.residual_to_last)
