"""The promise every family keeps. What lives on this side is written once and never names a family.

A family is four things: an *intake* (the web worker's light half: what a client may send and which files it
changes), a *family* (the training half, run in a child process), a *predictor* (the serving half) and a line
in the registry.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from errors import InvalidContent
from prediction.splits import SplitCertificate
from storage.journal_steps import DataChanges

if TYPE_CHECKING:
    from storage.db.database import Database

JSON = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


@dataclass(frozen=True, order=True)
class ModelKey:
    """The address of one model. Each part is a safe file name by construction."""

    family: str
    name: str = "default"
    tenant: str = "default"

    def __post_init__(self) -> None:
        for part in (self.family, self.name, self.tenant):
            if not _NAME.fullmatch(part):
                raise InvalidContent(
                    f"{part!r} cannot be a model or tenant name: "
                    "use up to 100 letters, digits, '_', '-' and '.'"
                )

    @property
    def path(self) -> str:
        """The model's folder below ``models/``."""
        return f"{self.tenant}/{self.family}/{self.name}"

    @classmethod
    def from_path(cls, path: str) -> ModelKey:
        """Return the key of the model with this folder below ``models/``."""
        tenant, family, name = path.split("/")
        return cls(family, name, tenant)

    def __str__(self) -> str:
        return f"{self.family}/{self.name}"


@dataclass(frozen=True)
class Metric:
    """A measured quantity with its unit and direction."""

    name: str
    unit: str = ""
    higher_is_better: bool = False

    def gain(self, candidate: float, champion: float) -> float:
        """How much better the candidate is, in the metric's unit; negative where it is worse."""
        return candidate - champion if self.higher_is_better else champion - candidate


class Progress(Protocol):
    """Announces what a training is doing; raising nothing, returning nothing."""

    def __call__(self, stage: str, **facts: Any) -> None: ...


def no_progress(stage: str, **facts: Any) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class PreparedData:
    """Data split for one training.

    Parameters
    ----------
    train, validation, test
        Whatever the family's own ``fit`` and ``evaluate`` read; opaque to everybody else.
    certificate : SplitCertificate
        Raw sample ids of each part; a session is refused where it does not hold.
    fingerprint : str
        sha256 of everything the training read: equal data gives an equal fingerprint.
    rows : int
        Raw samples in all parts together.
    facts : mapping
        JSON-able facts for the manifest: time span, number of devices, class balance.
    """

    train: Any
    validation: Any
    test: Any
    certificate: SplitCertificate
    fingerprint: str
    rows: int
    facts: JSON = field(default_factory=dict)


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
        One headline loss a held-out sample (lower is better), in the order of the held-out part, so that two
        models can be compared pair by pair. Not kept.
    beats_baselines : bool
        Whether the headline beats every baseline.
    figures : sequence of mapping
        Charts for the report, as ``prediction.figures`` makes them; kept in the manifest only.
    """

    headline: float
    metrics: Mapping[str, float]
    baselines: Mapping[str, float]
    held_out: int
    beats_baselines: bool
    losses: Sequence[float] = ()
    figures: Sequence[JSON] = ()

    def to_dict(self) -> JSON:
        """The scores as JSON, without the single losses and the figures."""
        return {
            "headline": self.headline,
            "metrics": dict(self.metrics),
            "baselines": dict(self.baselines),
            "held_out": self.held_out,
            "beats_baselines": self.beats_baselines,
        }


UNREPORTED_FIELDS = ("losses", "figures")
"""Fields of scores that are no metrics: sessions and metrics in a manifest come without them."""


@dataclass(frozen=True)
class DataImpact:
    """What the new data does to answers that were good before: evidence of a contradictory batch.

    Parameters
    ----------
    losses_without, losses_with : sequence of float
        Paired headline losses on the champion's held-out samples, trained without and with the new data.
    reasons : sequence of str
        The records involved, in plain words; used only where the gate finds the harm significant.
    losses_on_new : sequence of float
        Headline losses on the new records themselves, of a model that does not know them.
    most_on_new : float or None
        From this mean on, the new records are so unlike everything known that a person has to look at them.
    """

    losses_without: Sequence[float]
    losses_with: Sequence[float]
    reasons: Sequence[str] = ()
    losses_on_new: Sequence[float] = ()
    max_loss_on_new: float | None = None


@dataclass(frozen=True)
class Champion:
    """The version that serves now, as the training side sees it."""

    number: int
    folder: Path
    manifest: JSON


@dataclass(frozen=True)
class ParityProbe:
    """Inputs with the trained model's own answers: the saved copy must answer the same.

    ``tolerance`` is the largest absolute difference allowed between two numbers of an answer; ``options`` go
    with every question.
    """

    inputs: Sequence[Any]
    expected: Sequence[Any]
    tolerance: float = 1e-4
    options: JSON = field(default_factory=dict)


class ModelFamily(ABC):
    """The training half of a family. It holds no state: the model is a value handed around.

    ``source`` is the JSON-able mapping that the family's intake made; ``options`` are validated.
    """

    name: ClassVar[str]
    headline: ClassVar[Metric]
    requires_improvement: ClassVar[bool] = False
    requires_baseline: ClassVar[bool] = False
    guardrail_metrics: ClassVar[
        tuple[Metric, ...]
    ] = ()  # besides the headline: not to be worse than the champion's

    def metric_limits(self, options: JSON) -> Mapping[str, float]:
        """The largest values of metrics that the options allow, by name."""
        return {}

    def warm_up(self, resources: Resources) -> None:
        """Get ready before any task is known: a spare process calls it while nobody waits."""

    @abstractmethod
    def prepare(self, source: JSON, options: JSON, resources: Resources) -> PreparedData:
        """Stored data (and the session's new records) split into parts, with the certificate."""

    @abstractmethod
    def fit(self, prepared: PreparedData, options: JSON, progress: Progress) -> Any:
        """A model learnt from the training part (validation for choices and early stopping only)."""

    @abstractmethod
    def evaluate(self, model: Any, prepared: PreparedData) -> Scores:
        """Scores on the held-out part, beside the naive baselines."""

    @abstractmethod
    def evaluate_champion(self, champion: Champion, prepared: PreparedData, options: JSON) -> Scores | None:
        """The champion's scores on the same held-out samples; None where it cannot be compared fairly."""

    def harm(
        self, model: Any, champion: Champion, prepared: PreparedData, options: JSON
    ) -> DataImpact | None:
        """What the data that is new since the champion does to old answers; None where it is not asked."""
        return None

    def refit(self, model: Any, prepared: PreparedData, options: JSON, progress: Progress) -> Any:
        """The judged recipe fitted on all rows; families that serve the judged weights return the model."""
        return model

    @abstractmethod
    def save(self, model: Any, prepared: PreparedData, folder: Path) -> None:
        """Write serving artefacts and the downloads people expect into an empty folder."""

    @abstractmethod
    def probe(self, model: Any, prepared: PreparedData) -> ParityProbe:
        """At least 64 inputs (repeated where there are fewer) with this model's own answers."""

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        """Make a download that is not kept in the version's folder; False where there is no such file.

        Run in a child process, for files that are costly to write at every training.
        """
        return False


class Predictor(ABC):
    """The serving half of a family: its module imports neither torch nor scikit-learn, unpickles nothing."""

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        """Get ready before any version is known: a spare process calls it while nobody waits."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, resources: Resources) -> Predictor:
        """Read a version's folder, whose hashes were checked before."""

    @abstractmethod
    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """One JSON-able answer an input, in order."""


@dataclass(frozen=True)
class Upload:
    """A file that a client sent as a prediction request, unread."""

    content: bytes
    name: str = ""


@dataclass(frozen=True)
class RecordBatch:
    """What a client sent, validated.

    Parameters
    ----------
    records : sequence of mapping
        The records, normalised, in the order sent.
    warnings : sequence of str
        Doubts that stop nothing.
    ignored_fields : sequence of str
        Fields of the records that Millwright does not read.
    """

    records: Sequence[JSON]
    warnings: Sequence[str] = ()
    ignored_fields: Sequence[str] = ()


@dataclass(frozen=True)
class NewRecords:
    """The part of a batch that changes something, found under the training lock."""

    new: Sequence[JSON]
    skipped: int = 0
    corrections: int = 0


class Intake(ABC):
    """The web worker's half of a family: light, free of scikit-learn and torch.

    The defaults suit a family that trains from the database or from a dataset and takes no records.
    """

    family: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ("model",)
    """What one training retrains, by name: answers count records and models by these."""
    takes_records: ClassVar[bool] = True
    """Whether a training brings records. Where it does not, the request's body is the options, and because
    such trainings are long the answer comes at once unless the caller asks to wait."""
    takes_files: ClassVar[bool] = False
    """Whether a prediction request may be a file, which ``inputs`` then gets as an `Upload`."""

    def __init__(self, data_dir: Path, database: Database | None = None) -> None:
        self.data_dir = data_dir
        self.database = database

    def check_key(self, key: ModelKey) -> None:
        """Raise NotFound where this family has no model of that name."""

    def has_download(self, file_name: str) -> bool:
        """Whether ``ModelFamily.download`` knows this name, or MissingExtra: only then is a child asked."""
        return True

    def validate(self, raw: Any) -> RecordBatch:
        """Records of a training request; InvalidRecords with every fault at once."""
        if raw:
            raise InvalidContent(f"{self.family} trains from stored data and takes no records")
        return RecordBatch(())

    @abstractmethod
    def options(self, raw: JSON) -> JSON:
        """Training options with defaults filled in; InvalidContent names unknown or wrong ones."""

    def check_options(self, key: ModelKey, options: JSON) -> None:
        """Raise where valid options name something that this model's tenant does not have."""

    @abstractmethod
    def inputs(self, raw: Any) -> RecordBatch:
        """Inputs of a prediction request (JSON, CSV rows, an `Upload`); InvalidRecords names every fault."""

    def resolve_inputs(self, key: ModelKey, batch: RecordBatch) -> RecordBatch:
        """Fill in what inputs only name and this model's tenant has stored; NotFound where it has not."""
        return batch

    def select(self, key: ModelKey, batch: RecordBatch) -> NewRecords:
        """Leave out what is already stored. Called with the model's training lock held."""
        return NewRecords(batch.records)

    def data_files(self, key: ModelKey) -> list[Path]:
        """The data files this model owns: backed up before a session, restored with it."""
        return []

    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        """Notes on files edited by hand, which it may adopt; DataFileInvalid where one is unreadable."""
        return []

    def changes(self, key: ModelKey, new: Sequence[JSON], session_id: int) -> DataChanges:
        """Return the appends that store the new records."""
        return DataChanges()

    def removal(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        """Stage files without one session's records and return the moves; Conflict where it has none."""
        raise InvalidContent(f"{self.family} keeps no records of a session that could be taken out")

    def on_commit(self, key: ModelKey) -> None:
        """Take note that the journal has just changed this model's data files."""

    @abstractmethod
    def source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
        """Where the child reads: live files (or ``staged`` ones) plus the session's pending records."""

    def has_enough(self, key: ModelKey) -> bool:
        """Whether a first training at start could succeed."""
        return False


class Resources:
    """What several predictors of one process share, each made once on first use.

    ``cache_dir`` is for derived data that may be deleted at any time; ``sentence_model`` is that setting.
    """

    def __init__(self, cache_dir: Path, sentence_model: str = "none") -> None:
        self.cache_dir = cache_dir
        self.sentence_model = sentence_model
        self._shared: dict[str, Any] = {}

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """The object of that name, made on first use."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]
