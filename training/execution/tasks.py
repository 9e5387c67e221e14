"""Tasks and their results, as they travel between a session and its worker.

A worker may run on a machine that mounts the home folder elsewhere. So tasks name files relative to the home
folder, and the worker fills in its own home folder and database URL. Passwords never travel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from prediction.contract import JSON, BatchInfluence, DataImpact, Scores
from training.gate import PromotionRules

ResultT = TypeVar("ResultT")

_HOME = "{home}"
_DATABASE = "{database}"


@dataclass(frozen=True)
class Task(ABC, Generic[ResultT]):
    """One piece of work for a worker."""

    kind: ClassVar[str]

    @abstractmethod
    def parse_result(self, data: JSON) -> ResultT:
        """Return the result that a worker sent as JSON."""

    def to_dict(self) -> JSON:
        """Return the task as JSON."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class ChampionVersion:
    """The version that a candidate is compared with; ``folder`` is relative to the home folder."""

    number: int
    folder: str
    manifest: JSON


@dataclass(frozen=True)
class TrainResult:
    """What a training measured and what its manifest records.

    Parameters
    ----------
    rules : PromotionRules
        What the family requires of a candidate.
    champion_scores : Scores, optional
        The champion's scores on the same held-out samples.
    impact : DataImpact, optional
        What the new data does to answers that were good before.
    seconds : dict
        Duration of each stage.
    """

    rules: PromotionRules
    scores: Scores
    champion_scores: Scores | None
    impact: DataImpact | None
    certificate: JSON
    fingerprint: str
    rows: int
    facts: JSON
    libraries: dict[str, str]
    seconds: dict[str, float]

    def to_dict(self) -> JSON:
        """Return the result as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: JSON) -> TrainResult:
        """Return the result that `to_dict` wrote."""
        champion, impact = data["champion_scores"], data["impact"]
        parts = {
            "rules": PromotionRules.from_dict(data["rules"]),
            "scores": Scores(**data["scores"]),
            "champion_scores": Scores(**champion) if champion else None,
            "impact": DataImpact.from_dict(impact) if impact else None,
        }
        return cls(**{**data, **parts})


@dataclass(frozen=True)
class TrainTask(Task[TrainResult]):
    """Train a candidate and measure it beside the champion.

    Parameters
    ----------
    family : str
        Address of the family's training class, ``module:class``.
    source : dict
        Where the training data is, from `make_portable`.
    staging : str
        Empty folder for the candidate's files.
    probe : str
        File for the parity probe.
    champion, anchor : ChampionVersion, optional
        The version to beat, and the earlier one that the new data is compared with.
    """

    kind: ClassVar[str] = "train"
    family: str
    source: JSON
    options: JSON
    staging: str
    probe: str
    champion: ChampionVersion | None = None
    anchor: ChampionVersion | None = None

    def parse_result(self, data: JSON) -> TrainResult:
        return TrainResult.from_dict(data)


@dataclass(frozen=True)
class VerifyTask(Task[float]):
    """Load a saved candidate and compare its answers with the probe; the result is the largest deviation."""

    kind: ClassVar[str] = "verify"
    predictor: str
    folder: str
    probe: str

    def parse_result(self, data: JSON) -> float:
        return float(data["deviation"])


@dataclass(frozen=True)
class DownloadTask(Task[bool]):
    """Write a file that a version does not keep; the result says whether the family has such a file."""

    kind: ClassVar[str] = "download"
    family: str
    folder: str
    target: str

    def parse_result(self, data: JSON) -> bool:
        return bool(data["written"])


@dataclass(frozen=True)
class InfluenceTask(Task[list[BatchInfluence]]):
    """Measure what each batch since the anchor does to the model, the most harmful first."""

    kind: ClassVar[str] = "influence"
    family: str
    source: JSON
    options: JSON
    anchor: ChampionVersion

    def parse_result(self, data: JSON) -> list[BatchInfluence]:
        return [BatchInfluence(**batch) for batch in data["batches"]]


@dataclass(frozen=True)
class ReportTask(Task[None]):
    """Write the report of a session into a folder."""

    kind: ClassVar[str] = "report"
    facts: JSON
    folder: str

    def parse_result(self, data: JSON) -> None:
        return None


_TASKS: dict[str, type[Task[Any]]] = {
    task.kind: task for task in (TrainTask, VerifyTask, DownloadTask, InfluenceTask, ReportTask)
}


def task_from_dict(data: JSON) -> Task[Any]:
    """Return the task that `Task.to_dict` wrote."""
    fields = {name: value for name, value in data.items() if name != "kind"}
    for name in ("champion", "anchor"):
        if fields.get(name):
            fields[name] = ChampionVersion(**fields[name])
    return _TASKS[data["kind"]](**fields)


def make_portable(value: Any, home: Path, database_url: str) -> Any:
    """Replace the home folder and the database URL in nested JSON by placeholders."""
    if isinstance(value, dict):
        return {name: make_portable(part, home, database_url) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [make_portable(part, home, database_url) for part in value]
    # The database first: the URL of an embedded one holds the path of the home folder.
    if value == database_url:
        return _DATABASE
    if isinstance(value, str) and (value == str(home) or value.startswith(f"{home}/")):
        return _HOME + value[len(str(home)) :]
    return value


def make_local(value: Any, home: Path, database_url: str) -> Any:
    """Undo `make_portable` with the home folder and the database URL of this machine."""
    if isinstance(value, dict):
        return {name: make_local(part, home, database_url) for name, part in value.items()}
    if isinstance(value, list):
        return [make_local(part, home, database_url) for part in value]
    if value == _DATABASE:
        return database_url
    if isinstance(value, str) and value.startswith(_HOME):
        return str(home) + value[len(_HOME) :]
    return value
