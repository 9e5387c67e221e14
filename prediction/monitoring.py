"""Evidence for retraining a model. Families collect it; ``training/monitoring`` decides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypedDict

from prediction.contract import ModelKey, Options
from storage.db.database import Database
from storage.devices.prediction import Prediction
from storage.models.champions import ChampionIndex
from storage.models.versions import VersionStore


@dataclass(frozen=True)
class ProductionMetrics:
    """How well the serving version predicts what came after its training, beside what was expected.

    Parameters
    ----------
    metrics : mapping
        Under the names of the version's own metrics, and the number of cases behind them.
    promised, measured : float or None
        Mean error over the same cases: expected from the held-out errors, and observed; None while no case
        is known.
    excess : sequence of float
        Measured minus promised error, one value for each independent case.
    error : str
        The error's name, for people.
    unit : str
    """

    metrics: Mapping[str, object] = field(default_factory=dict)
    promised: float | None = None
    measured: float | None = None
    excess: Sequence[float] = ()
    error: str = "error"
    unit: str = ""

    @property
    def ratio(self) -> float | None:
        """Promised divided by measured error: below 1 is worse than promised; None while unknown."""
        if self.promised is None or self.measured is None:
            return None
        return self.promised / self.measured if self.measured > 0 else 1.0


@dataclass(frozen=True)
class InputDrift:
    """How far one input has moved since the training (``size``), and how far it may move by chance."""

    size: float
    by_chance: float


class ProductionRecord(TypedDict):
    """`ProductionMetrics` as decisions store them."""

    metrics: Mapping[str, object]
    promised: float | None
    measured: float | None
    error: str
    unit: str
    ratio: float | None


class DriftRecord(TypedDict):
    """An `InputDrift` as decisions store it."""

    size: float
    by_chance: float


class MonitoringRecord(TypedDict):
    """A `MonitoringReport` as decisions store it."""

    version: int | None
    trained_at: str | None
    production: ProductionRecord
    judged: dict[str, object]
    new: int | None
    known: int | None
    cases: str
    shifts: dict[str, DriftRecord]
    issue: str | None


@dataclass(frozen=True)
class MonitoringReport:
    """The evidence about one model.

    Parameters
    ----------
    version : int or None
        The champion; None where there is none.
    trained_at : datetime or None
    max_age : timedelta or None
        Age after which the family wants the model retrained; None leaves that to the settings.
    production : ProductionMetrics
    judged : mapping
        The champion's metrics on held-out data.
    new, known : int or None
        Training cases that came since the training, and those it used; None where the family counts none.
    cases : str
        The name of a case, in the plural.
    shifts : mapping of str to InputDrift
        By input.
    issue : str or None
        A problem that the family itself found, as a sentence.
    """

    version: int | None = None
    trained_at: datetime | None = None
    max_age: timedelta | None = None
    production: ProductionMetrics = field(default_factory=ProductionMetrics)
    judged: Mapping[str, object] = field(default_factory=dict)
    new: int | None = None
    known: int | None = None
    cases: str = "cases"
    shifts: Mapping[str, InputDrift] = field(default_factory=dict)
    issue: str | None = None

    def to_dict(self) -> MonitoringRecord:
        """Return the evidence as decisions keep it."""
        production = self.production
        return {
            "version": self.version,
            "trained_at": self.trained_at.isoformat() if self.trained_at else None,
            "production": {
                "metrics": production.metrics,
                "promised": production.promised,
                "measured": production.measured,
                "error": production.error,
                "unit": production.unit,
                "ratio": production.ratio,
            },
            "judged": dict(self.judged),
            "new": self.new,
            "known": self.known,
            "cases": self.cases,
            "shifts": {
                name: {"size": shift.size, "by_chance": shift.by_chance}
                for name, shift in self.shifts.items()
            },
            "issue": self.issue,
        }


class FamilyMonitor(ABC):
    """Collects evidence about the models of one family and tenant; light enough for a web worker.

    Parameters
    ----------
    database : Database
    versions : VersionStore
    tenant : str
    champion : callable
        Returns the live champion of a key, with ``predictor`` and ``manifest``, or raises a
        ``MillwrightError``.
    """

    family: ClassVar[str]
    batch_training: ClassVar[bool] = False
    """Whether the models of a family are retrained together, in one session."""

    def __init__(
        self, database: Database, versions: VersionStore, tenant: str, champion: Callable[[ModelKey], Any]
    ) -> None:
        self.database = database
        self.versions = versions
        self.tenant = tenant
        self.champion = champion
        self.index = ChampionIndex(database, versions)

    @classmethod
    def predictions_to_log(cls, predictor: Any, predictions: Sequence[Any]) -> list[Prediction]:
        """Return the predictions whose outcome will be known later."""
        return []

    def promoted_models(self) -> list[str]:
        """Return the names of models with a champion or with an unreadable pointer, in order."""
        return self.index.names(self.tenant, self.family)

    def retrain_options(self, name: str, changed: bool) -> Options:
        """Return the options for a retraining: those of the champion.

        Parameters
        ----------
        changed : bool
            Whether the evidence says that what the champion has learnt no longer holds.
        """
        version = self.versions.champion(self.key(name).path)
        return {} if version is None else dict(version.manifest["options"])

    @abstractmethod
    def report(self, name: str, now: datetime) -> MonitoringReport:
        """Collect the evidence about one model.

        Raises
        ------
        MillwrightError
            The champion, or stored data, cannot be read.
        """

    def key(self, name: str) -> ModelKey:
        """Return the key of one of the models."""
        return ModelKey(self.family, name, self.tenant)
