"""The epoch loop learns, announces, stops when told, and goes on after a cut as if nothing had happened."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from errors import NotEnoughData, TrainingCancelled, TrainingFailed
from prediction.neural.callbacks import (
    Callback,
    EarlyStopping,
    ExponentialDecay,
    NeuralHyperparameters,
    ReduceOnPlateau,
)
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.training import TrainingExamples, evaluate_network, fit, move_to_device, predict


def examples(count: int = 96, seed: int = 0) -> TrainingExamples:
    chance = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=chance)
    return TrainingExamples(inputs, inputs[:, :2] * 3 + inputs[:, 2:4])


def network() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))


def weights(of: nn.Module) -> list[Tensor]:
    return [value.clone() for value in of.state_dict().values()]


def test_weights_move_and_the_loss_falls():
    net = network()
    before = weights(net)
    run = fit(net, examples(), examples(32, 1), NeuralHyperparameters(epochs=15, learning_rate=0.01))
    assert not any(torch.equal(old, new) for old, new in zip(before, weights(net), strict=True))
    assert run.history[-1]["val_loss"] < run.history[0]["val_loss"] / 2


def test_a_small_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 2))
    run = fit(net, examples(8), None, NeuralHyperparameters(epochs=600, batch_size=8, learning_rate=0.01))
    assert run.history[-1]["train_loss"] < 1e-4


def test_equal_seeds_make_equal_weights_and_others_do_not():
    def trained(seed: int) -> list[Tensor]:
        net = network()
        fit(net, examples(), None, NeuralHyperparameters(epochs=2, seed=seed))
        return weights(net)

    one, same, other = trained(1), trained(1), trained(2)
    assert all(itertools.starmap(torch.equal, zip(one, same, strict=True)))
    assert not torch.equal(one[0], other[0])


def test_the_weights_of_the_best_epoch_are_kept():
    net = network()
    validation = examples(32, 1)
    run = fit(net, examples(), validation, NeuralHyperparameters(epochs=12, learning_rate=0.3))
    losses = [entry["val_loss"] for entry in run.history]
    assert run.best_epoch == losses.index(min(losses)) + 1
    measured = evaluate_network(net, validation, {"loss": nn.functional.mse_loss})["loss"]
    assert measured == pytest.approx(min(losses))


def test_each_epoch_is_announced():
    told = []
    fit(
        network(),
        examples(),
        examples(8, 1),
        NeuralHyperparameters(epochs=3),
        progress=lambda stage, **facts: told.append((stage, facts)),
    )
    assert [(stage, facts["epoch"], facts["of"]) for stage, facts in told] == [
        ("epoch", n, 3) for n in (1, 2, 3)
    ]
    assert told[0][1].keys() >= {"train_loss", "val_loss", "eta_seconds", "done"}
    assert told[-1][1]["eta_seconds"] == 0


def test_the_accuracy_stands_beside_the_losses():
    def nearly(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target).abs() < 1).float().mean()

    run = fit(network(), examples(), examples(8, 1), NeuralHyperparameters(epochs=2), accuracy=nearly)
    assert {"train_accuracy", "val_accuracy"} <= run.history[0].keys()
    assert 0 <= run.history[0]["val_accuracy"] <= 1


def test_early_stopping_waits_for_its_patience():
    run = fit(
        network(),
        examples(),
        examples(8, 1),
        NeuralHyperparameters(epochs=99, learning_rate=0),
        callbacks=[EarlyStopping(3)],
    )
    assert (run.epoch, run.best_epoch) == (4, 1)
    assert "3 epochs" in run.stop_reason


def test_learning_rates_follow_their_listeners():
    def rates(listener: Callback) -> list[float]:
        run = fit(
            network(),
            examples(),
            examples(8, 1),
            NeuralHyperparameters(epochs=5, learning_rate=0),
            callbacks=[Started(1.0), listener],
        )
        return [entry["learning_rate"] for entry in run.history[1:]]

    assert rates(ExponentialDecay(0.5)) == [0.5, 0.25, 0.125, 0.0625]
    assert rates(ReduceOnPlateau(0.1, patience=2))[:3] == [1.0, 1.0, pytest.approx(0.1)]


class Started(Callback):
    """Sets the rate after the first epoch, in which nothing was learnt."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.state = {}

    def on_epoch_end(self, run) -> None:
        if run.epoch == 1:
            run.optimizer.param_groups[0]["lr"] = self.rate


def test_a_loss_that_is_no_number_fails_with_advice():
    broken = TrainingExamples(torch.full((4, 6), float("nan")), torch.zeros(4, 2))
    with pytest.raises(TrainingFailed, match="learning rate"):
        fit(network(), broken, None, NeuralHyperparameters(epochs=1))


def test_nothing_to_learn_from_is_said():
    with pytest.raises(NotEnoughData):
        fit(network(), examples(0), None, NeuralHyperparameters())


def test_cancelling_is_noticed_between_two_batches():
    asked = itertools.count()
    with pytest.raises(TrainingCancelled):
        fit(network(), examples(), None, NeuralHyperparameters(epochs=1), cancelled=lambda: next(asked) > 1)
    assert next(asked) == 3


class Cut(Exception):
    pass


@pytest.mark.parametrize("cut_after", [1, 3, 5])
def test_a_resumed_run_makes_the_weights_of_an_uninterrupted_one(tmp_path, cut_after):
    recipe = NeuralHyperparameters(epochs=6, learning_rate=0.01, seed=3)

    def run(checkpoint: Checkpoint | None, cut: int = 99):
        def progress(stage, **facts):
            if facts["epoch"] == cut:
                raise Cut

        net = network()
        callbacks = [EarlyStopping(50), ReduceOnPlateau(0.5, 1)]
        ended = fit(
            net,
            examples(),
            examples(32, 1),
            recipe,
            callbacks=callbacks,
            checkpoint=checkpoint,
            progress=progress,
        )
        return weights(net), ended

    whole, uninterrupted = run(None)
    with pytest.raises(Cut):
        run(Checkpoint(tmp_path / "run", "a", pause_seconds=0), cut_after)
    resumed, ended = run(Checkpoint(tmp_path / "run", "a", pause_seconds=0))
    assert all(itertools.starmap(torch.equal, zip(whole, resumed, strict=True)))
    assert [e["val_loss"] for e in ended.history] == [e["val_loss"] for e in uninterrupted.history]
    assert [e["learning_rate"] for e in ended.history] == [e["learning_rate"] for e in uninterrupted.history]


def test_a_checkpoint_of_another_run_or_a_torn_one_is_ignored(tmp_path):
    file = tmp_path / "run"
    fit(network(), examples(), None, NeuralHyperparameters(epochs=2), checkpoint=Checkpoint(file, "mine", 0))
    assert Checkpoint(file, "mine").read() is not None
    assert Checkpoint(file, "other").read() is None
    file.write_bytes(file.read_bytes()[:100])
    assert Checkpoint(file, "mine").read() is None
    assert Checkpoint(tmp_path / "none").read() is None


def test_a_checkpoint_of_another_name_is_another_run(tmp_path):
    of = Checkpoint(tmp_path / "run", "data", 0)
    fit(network(), examples(), None, NeuralHyperparameters(epochs=1), checkpoint=of.for_variant("small"))
    assert of.for_variant("small").read() is not None
    assert of.for_variant("large").read() is None


def test_chosen_examples_only_are_learnt_from():
    all_of_them = examples(10)
    some = TrainingExamples(all_of_them.inputs, all_of_them.targets, torch.tensor([2, 5]))
    inputs, _ = some.batch(torch.tensor([1]))
    assert len(some) == 2
    assert torch.equal(inputs[0], all_of_them.inputs[5])


def test_read_only_windows_become_examples_without_a_copy():
    series = np.arange(20.0, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(series, 5)
    held = TrainingExamples.from_arrays(windows, windows)
    assert held.inputs.data_ptr() == series.ctypes.data


def test_overlapping_windows_move_as_views():
    series = torch.arange(20.0)
    windows = series.as_strided((16, 5), (1, 1))
    moved = move_to_device(windows, torch.device("cpu"))
    assert torch.equal(moved, windows)
    assert moved.untyped_storage().nbytes() == 20 * 4


def test_prediction_is_the_same_in_any_batch_size():
    inputs = examples(50).inputs
    net = network()
    assert torch.allclose(predict(net, inputs, 7), predict(net, inputs, 50))
