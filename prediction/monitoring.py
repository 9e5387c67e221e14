"""What speaks for training a model again: measured by its family, weighed by ``training/schedule``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from prediction.contract import JSON, ModelKey
from storage.db.database import Database
from storage.devices.predictions import Prediction
from storage.models.versions import VersionStore


@dataclass(frozen=True)
class ProductionMetrics:
    """How well the serving version does on what came after its training, beside what was promised.

    Parameters
    ----------
    metrics : mapping
        Under the names of the version's own metrics, and how much they rest on.
    promised, measured : float or None
        Mean error over the same cases, as the judging promised it and as it came; None where nothing has
        come yet.
    excess : sequence of float
        Measured minus promised, one value for each independent case.
    error : str
        The error's name, for people.
    unit : str
    """

    metrics: JSON = field(default_factory=dict)
    promised: float | None = None
    measured: float | None = None
    excess: Sequence[float] = ()
    error: str = "error"
    unit: str = ""

    @property
    def ratio(self) -> float | None:
        """Promised error in shares of the measured one: 1 as promised, below 1 worse; None while unknown."""
        if self.promised is None or self.measured is None:
            return None
        return self.promised / self.measured if self.measured > 0 else 1.0


@dataclass(frozen=True)
class InputDrift:
    """How far one input has moved since the training, and how far it may by chance."""

    size: float
    by_chance: float


@dataclass(frozen=True)
class MonitoringReport:
    """What is known of one model.

    Parameters
    ----------
    version : int or None
        The champion; None where there is none.
    trained_at : datetime or None
    max_age : timedelta or None
        After which the family wants it trained again; None leaves that to the settings.
    production : Production
    judged : mapping
        The champion's metrics on held-out data.
    new, known : int or None
        Cases to learn from that came since the training, and those it had; None where the family does not
        count any.
    cases : str
        What a case is, in the plural.
    shifts : mapping of str to Shift
        By input.
    complaint : str or None
        What the family itself found wrong, as a sentence.
    """

    version: int | None = None
    trained_at: datetime | None = None
    max_age: timedelta | None = None
    production: ProductionMetrics = field(default_factory=ProductionMetrics)
    judged: JSON = field(default_factory=dict)
    new: int | None = None
    known: int | None = None
    cases: str = "cases"
    shifts: Mapping[str, InputDrift] = field(default_factory=dict)
    issue: str | None = None

    def to_dict(self) -> JSON:
        """As JSON."""
        production = {name: told for name, told in asdict(self.production).items() if name != "excess"}
        return {
            "version": self.version,
            "trained_at": self.trained_at.isoformat() if self.trained_at else None,
            "production": {**production, "ratio": self.production.ratio},
            "judged": dict(self.judged),
            "new": self.new,
            "known": self.known,
            "cases": self.cases,
            "shifts": {name: asdict(shift) for name, shift in self.shifts.items()},
            "issue": self.issue,
        }


class FamilyMonitor(ABC):
    """The models of one family and tenant, looked after: light enough for a web worker.

    Parameters
    ----------
    database : Database
    versions : VersionStore
    tenant : str
    champion : callable
        The live champion of a key, with ``predictor`` and ``manifest``; raises a ``MillwrightError``.
    """

    family: ClassVar[str]
    batch_training: ClassVar[bool] = False
    """Whether its models are trained as one fleet."""

    def __init__(
        self, database: Database, versions: VersionStore, tenant: str, champion: Callable[[ModelKey], Any]
    ) -> None:
        self.database = database
        self.versions = versions
        self.tenant = tenant
        self.champion = champion

    @classmethod
    def noted(cls, predictor: Any, answers: Sequence[JSON]) -> list[Prediction]:
        """What of these answers is kept until it is known how things went."""
        return []

    def served(self) -> list[str]:
        """Names of the models that answer, or would if their pointer could be read, in order."""
        prefix = f"{self.tenant}/{self.family}/"
        pointed, damaged = self.versions.read_pointers(self.versions.keys(prefix))
        mine = [path for path, number in pointed.items() if number is not None]
        return sorted(path.removeprefix(prefix) for path in [*mine, *damaged])

    def options(self, name: str, changed: bool) -> JSON:
        """With what a model is trained again: as the champion was.

        Parameters
        ----------
        changed : bool
            What the champion learnt no longer holds.
        """
        version = self.versions.champion(self.key(name).path)
        return {} if version is None else dict(version.manifest["options"])

    @abstractmethod
    def evidence(self, name: str, now: datetime) -> MonitoringReport:
        """What speaks for training that model again.

        Raises
        ------
        MillwrightError
            The champion, or what is stored, cannot be read.
        """

    def key(self, name: str) -> ModelKey:
        """The key of one of its models."""
        return ModelKey(self.family, name, self.tenant)
