"""What families that train PyTorch networks share: checkpoints, parity probe and champion comparison."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, TypeVar

from prediction.contract import (
    JSON,
    AnyPredictor,
    Champion,
    ModelFamily,
    Options,
    ParityProbe,
    Progress,
    Resources,
    Scores,
    artefact_errors,
)
from prediction.neural.callbacks import Callback, EarlyStopping, NeuralHyperparameters, ReduceOnPlateau
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.data import NeuralData

PROBE_SIZE = 64
_RATE_FACTOR, _MIN_RATE_PATIENCE = 0.5, 2


NeuralDataT = TypeVar("NeuralDataT", bound=NeuralData)
ModelT = TypeVar("ModelT")
InfoT = TypeVar("InfoT")
PredictorT = TypeVar("PredictorT", bound=AnyPredictor)


class ProbeInputs(NamedTuple):
    """Inputs as the request parser returns them, and the largest difference allowed between two predictions."""

    inputs: Sequence[object]
    tolerance: float


class NeuralFamily(ModelFamily[NeuralDataT, ModelT], Generic[NeuralDataT, ModelT, InfoT]):
    """Base of families of networks; the evaluated weights serve, unless a family has a `refit` of its own.

    ``InfoT`` is what `info_file` of a version says about its comparison with later ones.
    """

    info_file: ClassVar[str] = "model_info.json"

    @abstractmethod
    def train(
        self, prepared: NeuralDataT, options: Options, progress: Progress, checkpoint: Checkpoint | None
    ) -> ModelT:
        """Train a network, going on from the checkpoint where there is one."""

    @abstractmethod
    def create_predictor(self, model: ModelT, prepared: NeuralDataT) -> AnyPredictor:
        """Return a predictor that runs the trained network itself instead of its export."""

    @abstractmethod
    def probe_inputs(self, prepared: NeuralDataT) -> ProbeInputs:
        """Return `PROBE_SIZE` inputs of the test part, and how far network and export may differ on them."""

    @abstractmethod
    def parse_info(self, info: JSON) -> InfoT:
        """Return what the content of an `info_file` says; any exception means that the file is damaged."""

    @abstractmethod
    def is_comparable(self, info: InfoT, prepared: NeuralDataT) -> bool:
        """Tell whether a champion forecasts the same and has not learnt from a sample of the test part."""

    @abstractmethod
    def score_champion(self, folder: Path, prepared: NeuralDataT) -> Scores | None:
        """Score the exported network of a comparable champion; None where it cannot judge all of the test part."""

    def fit(self, prepared: NeuralDataT, options: Options, progress: Progress) -> ModelT:
        """Train a network; a training that was cut off goes on from its last epoch."""
        identity = [prepared.fingerprint, options]
        with Checkpoint.temporary_for(prepared.checkpoints, identity) as checkpoint:
            return self.train(prepared, options, progress, checkpoint)

    def evaluate_champion(self, champion: Champion, prepared: NeuralDataT, options: Options) -> Scores | None:
        """Score the champion on the same test part; None where a fair comparison is impossible."""
        info = self.read_info(champion.folder)
        return self.score_champion(champion.folder, prepared) if self.is_comparable(info, prepared) else None

    def read_info(self, folder: Path) -> InfoT:
        """Read the `info_file` of a version.

        Raises
        ------
        ArtefactCorrupt
            It is damaged, or says less than it should.
        """
        with artefact_errors(f"Version {folder.name}"):
            return self.parse_info(json.loads((folder / self.info_file).read_text(encoding="utf-8")))

    def build_probe(self, model: ModelT, prepared: NeuralDataT) -> ParityProbe:
        """Return inputs of the test part with the trained network's own predictions."""
        inputs, tolerance = self.probe_inputs(prepared)
        expected = self.create_predictor(model, prepared).predict(inputs, {})
        return ParityProbe(inputs, expected, tolerance)


def load_predictor(kind: type[PredictorT], folder: Path) -> PredictorT:
    """Load a version's predictor, which needs no shared resources, for a comparison."""
    with artefact_errors(f"Version {folder.name}"):
        predictor = kind.load(folder, Resources(Path()))
    assert isinstance(predictor, kind)
    return predictor


def read_hyperparameters(options: Options, max_gradient_norm: float | None = None) -> NeuralHyperparameters:
    """Return how the loop trains, by a family's options."""
    return NeuralHyperparameters(
        epochs=options["epochs"],
        batch_size=options["batch_size"],
        learning_rate=options["learning_rate"],
        weight_decay=options["weight_decay"],
        seed=options["seed"],
        max_gradient_norm=max_gradient_norm,
    )


def default_callbacks(patience: int) -> list[Callback]:
    """Return callbacks that halve the learning rate on a plateau and stop when the patience ends."""
    # Three plateaus fit into one patience, so that lower rates are tried before the end.
    plateau = max(_MIN_RATE_PATIENCE, patience // 3)
    return [ReduceOnPlateau(_RATE_FACTOR, plateau), EarlyStopping(patience)]
