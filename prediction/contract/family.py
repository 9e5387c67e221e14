"""The training half of a family, and the values that it exchanges with the training pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from prediction.contract.keys import Options, TrainingSource
from prediction.contract.predictor import Resources
from prediction.splits import SplitCertificate
from storage.models.figures import Figure
from storage.models.manifest import Manifest, ScoresRecord


@dataclass(frozen=True)
class Metric:
    """A measured quantity with its unit and direction.

    ``tolerance`` is by how much a guardrail metric may be worse than the champion's by chance, besides a share
    of that.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = False
    tolerance: float = 0.02

    def gain(self, candidate: float, champion: float) -> float:
        """Return by how much the candidate is better, in the metric's unit; negative where it is worse."""
        return candidate - champion if self.higher_is_better else champion - candidate


class Progress(Protocol):
    """Reports the progress of a training; it never raises."""

    def __call__(self, stage: str, **facts: object) -> None: ...


def no_progress(stage: str, **facts: object) -> None:
    """Ignore the progress of a training."""


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The data of one training. Families subclass it and add their training, validation and test parts.

    Parameters
    ----------
    certificate : SplitCertificate
        Raw sample ids of each part; a session is refused where it does not hold.
    fingerprint : str
        sha256 of everything the training read: equal data gives an equal fingerprint.
    rows : int
        Raw samples in all parts together.
    facts : mapping
        What the manifest says about the data: time span, number of devices, class balance.
    warnings : sequence of str
        What of the data was left out, for the person who trains.
    """

    certificate: SplitCertificate
    fingerprint: str
    rows: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Scores:
    """Metrics measured on held-out data, with the naive baselines measured on the same rows.

    Parameters
    ----------
    headline : float
        The value of the family's headline metric.
    metrics : mapping of str to float
        Every metric, flat: ``{"availability.mae": 0.21, ...}``.
    baselines : mapping of str to float
        The headline metric of each naive baseline on the same rows.
    held_out : int
        Number of held-out samples.
    losses : sequence of float
        One headline loss for each held-out sample (lower is better), in the order of the held-out part, so
        that two models can be compared pair by pair. Not stored.
    beats_baselines : bool
        Whether the headline beats every baseline.
    guardrail_losses : mapping of str to sequence of float
        Losses of guardrail metrics that few samples decide, by the metric's name: one for each held-out sample
        that has the metric (lower is better), in the order of the held-out part. Not stored.
    figures : sequence of Figure
        Charts for the report, made by ``prediction.figures``; stored in the manifest only.
    """

    headline: float
    metrics: Mapping[str, float | None]
    baselines: Mapping[str, float]
    held_out: int
    beats_baselines: bool
    losses: Sequence[float] = ()
    figures: Sequence[Figure] = ()
    guardrail_losses: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def to_dict(self) -> ScoresRecord:
        """Return the scores as a manifest records them, without the single losses and the figures."""
        return {
            "headline": self.headline,
            "metrics": dict(self.metrics),
            "baselines": dict(self.baselines),
            "held_out": self.held_out,
            "beats_baselines": self.beats_baselines,
        }


@dataclass(frozen=True)
class SequentialEvidence:
    """Evidence, added up over all batches since the anchor, that their labels follow another rule.

    Parameters
    ----------
    log_e_value : float
        Natural logarithm of an e-value: where nothing is wrong, it reaches ``log(n)`` once in ``n`` trainings
        at most, however often one looks.
    hypothesis : str
        The rule that the labels seem to follow, as half a sentence.
    rows : int
        New records it was computed from.
    is_harmful : bool
        Whether answers on the anchor's held-out records get worse as well, or severe labels stay away where
        they are expected. Otherwise the records are new rather than wrong.
    repeated_log_e_value : float
        Evidence that the records go on as those in quarantine did; 0 where none is in quarantine.
    """

    log_e_value: float
    hypothesis: str
    rows: int
    is_harmful: bool
    repeated_log_e_value: float = 0.0


@dataclass(frozen=True)
class BatchInfluence:
    """What one batch does to the model.

    Parameters
    ----------
    session_id : int or None
        The session that brought it; None for the records of the present session.
    rows : int
    loss_change : float
        How much the loss on the anchor's held-out records falls when the batch is left out.
    log_e_value : float
        Evidence of the batch alone that its labels follow another rule.
    hypothesis : str
        That rule.
    rater : str or None
        Who scored most of its records, where it is known.
    """

    session_id: int | None
    rows: int
    loss_change: float
    log_e_value: float
    hypothesis: str
    rater: str | None = None


@dataclass(frozen=True)
class ScoreAgreement:
    """How one score of a rater compares with what others gave the most similar records.

    Parameters
    ----------
    compared : int
        Records for which somebody else scored a similar one.
    same : float or None
        The share with the same level; None where nothing was compared.
    mean_difference : float or None
        Above zero where the rater scores higher.
    """

    compared: int
    same: float | None
    mean_difference: float | None


@dataclass(frozen=True)
class RaterAgreement:
    """How a rater, or a source of records, agrees with the others.

    Parameters
    ----------
    kind : str
        ``rater`` or ``source``.
    records, quarantined : int
        How many of its records are stored, and how many of these wait in quarantine.
    scores : mapping
        By the part of the model.
    """

    kind: str
    name: str
    records: int
    quarantined: int
    scores: Mapping[str, ScoreAgreement]


@dataclass(frozen=True)
class MissedSevere:
    """How many severe held-out records a model finds without and with the new data.

    Parameters
    ----------
    name : str
        The part of the model and the level, as in "availability from 4 on".
    records : int
        Held-out records that experts scored as high.
    found_without, found_with : int
    """

    name: str
    records: int
    found_without: int
    found_with: int


@dataclass(frozen=True)
class DataImpact:
    """The effect of new data on predictions that were good before: evidence of a contradictory batch.

    Parameters
    ----------
    losses_without, losses_with : sequence of float
        Paired headline losses on the champion's held-out samples, trained without and with the new data.
    reasons : sequence of str
        The records involved, as sentences; used only where the gate finds the effect significant.
    losses_on_new : sequence of float
        Headline losses on the new records themselves, of a model that was not trained on them.
    max_loss_on_new : float or None
        A mean loss above this means that the new records are unlike all earlier ones and need a review.
    deterioration : mapping of str to float
        For each part of the model, by how many standard errors its loss on the held-out samples rises.
    sequential : SequentialEvidence, optional
        Evidence over all batches since the anchor.
    influence : sequence of BatchInfluence
        Each batch since the anchor, the most harmful first; only where the evidence is strong.
    missed : sequence of MissedSevere
        Severe records that are found without the new data and missed with it.
    """

    losses_without: Sequence[float]
    losses_with: Sequence[float]
    reasons: Sequence[str] = ()
    losses_on_new: Sequence[float] = ()
    max_loss_on_new: float | None = None
    deterioration: Mapping[str, float] = field(default_factory=dict)
    sequential: SequentialEvidence | None = None
    influence: Sequence[BatchInfluence] = ()
    missed: Sequence[MissedSevere] = ()


@dataclass(frozen=True)
class Champion:
    """The version that serves now, as the training side sees it."""

    number: int
    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class ParityProbe:
    """Inputs with the trained model's own predictions: the saved copy must give the same ones.

    ``tolerance`` is the largest absolute difference allowed between two numbers of a prediction; ``options``
    go with every request.
    """

    inputs: Sequence[object]
    expected: Sequence[object]
    tolerance: float = 1e-4
    options: Options = field(default_factory=dict)


PreparedT = TypeVar("PreparedT", bound=PreparedData)
ModelT = TypeVar("ModelT")


class RecordReviewer(Generic[PreparedT, ModelT]):
    """Reviews what labelled records do to a model. This one is for families without such records: it has no doubts."""

    def assess_new_data(
        self, model: ModelT, champion: Champion, prepared: PreparedT, options: Options
    ) -> DataImpact | None:
        """Measure the effect of the data that ``champion`` does not know; None where it does not matter.

        ``champion`` is the anchor: a version from before the recent sessions.
        """
        return None

    def measure_influence(
        self, champion: Champion, prepared: PreparedT, options: Options
    ) -> list[BatchInfluence]:
        """Return what each batch since the anchor does to the model, the most harmful first."""
        return []

    def review_new_records(
        self, model: ModelT, champion: Champion | None, prepared: PreparedT, options: Options
    ) -> list[str]:
        """Return warnings about the labels of new records and about those who gave them.

        ``champion`` is the version that serves; it has not learnt the new records.
        """
        return []

    def measure_agreement(self, prepared: PreparedT) -> list[RaterAgreement]:
        """Return how those who label the stored records agree with each other."""
        return []


class ModelFamily(ABC, Generic[PreparedT, ModelT]):
    """The training half of a family. It holds no state: the model is a value that is passed around.

    ``source`` is what the family's `DataSource` made; ``options`` are validated.
    """

    name: ClassVar[str]
    headline: ClassVar[Metric]
    requires_improvement: ClassVar[bool] = False
    requires_baseline: ClassVar[bool] = False
    chance_baselines: ClassVar[tuple[str, ...]] = ()
    """Baselines that know nothing of their input: a candidate that is no better never serves."""
    guardrail_metrics: ClassVar[tuple[Metric, ...]] = ()
    """Metrics besides the headline that must not be worse than the champion's."""
    reviewer: RecordReviewer[PreparedT, ModelT] = RecordReviewer()

    def metric_limits(self, options: Options) -> Mapping[str, float]:
        """Return the largest allowed values of metrics, by name."""
        return {}

    def warm_up(self, resources: Resources) -> None:
        """Load what every training needs, before a task is known: the pre-warmed process calls it."""

    @abstractmethod
    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedT:
        """Split the stored data (and the session's new records) into parts, with the certificate."""

    @abstractmethod
    def fit(self, prepared: PreparedT, options: Options, progress: Progress) -> ModelT:
        """Fit a model to the training part; the validation part is for choices and early stopping only."""

    @abstractmethod
    def evaluate(self, model: ModelT, prepared: PreparedT) -> Scores:
        """Score the model and the naive baselines on the held-out part."""

    @abstractmethod
    def evaluate_champion(self, champion: Champion, prepared: PreparedT, options: Options) -> Scores | None:
        """Score the champion on the same held-out samples; None where a fair comparison is impossible."""

    def refit(self, model: ModelT, prepared: PreparedT, options: Options, progress: Progress) -> ModelT:
        """Fit the evaluated configuration to all rows, or return the model where its weights serve."""
        return model

    @abstractmethod
    def save(self, model: ModelT, prepared: PreparedT, folder: Path) -> None:
        """Write the serving artefacts and the downloads into an empty folder."""

    @abstractmethod
    def build_probe(self, model: ModelT, prepared: PreparedT) -> ParityProbe:
        """Return at least 64 inputs (repeated where there are fewer) with this model's own predictions."""

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        """Write a download that the version does not store; False where there is no such file.

        Runs in a child process, for files that are costly to write after every training.
        """
        return False


# A family whose prepared data and model are known to itself only: the pipeline passes them on.
AnyFamily: TypeAlias = ModelFamily[Any, Any]
