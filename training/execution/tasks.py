"""Tasks and their results, as they travel between a session and its worker.

A worker may run on a machine that mounts the home folder elsewhere. So tasks name files relative to the home
folder, and the worker fills in its own home folder and database URL. Passwords never travel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from prediction.contract import (
    BatchInfluence,
    DataImpact,
    Options,
    RaterAgreement,
    Scores,
    TrainingSource,
)
from prediction.severe_cases import SaferAnswer
from reports.facts.session_facts import ReportFacts
from storage.models.manifest import CertificateRecord, Manifest
from training.execution.ipc import rebuild
from training.gate import PromotionRules

ResultT = TypeVar("ResultT")

_HOME = "{home}"
_DATABASE = "{database}"


@dataclass(frozen=True)
class Task(ABC, Generic[ResultT]):
    """One piece of work for a worker."""

    kind: ClassVar[str]

    @abstractmethod
    def parse_result(self, data: object) -> ResultT:
        """Return the result that a worker sent."""

    def to_dict(self) -> dict[str, object]:
        """Return what `task_from_dict` reads."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class ChampionVersion:
    """The version that a candidate is compared with; ``folder`` is relative to the home folder."""

    number: int
    folder: str
    manifest: Manifest


@dataclass(frozen=True)
class SevereCheck:
    """The severe cases that a candidate must not answer safer than the champion.

    Parameters
    ----------
    reader : str
        Address of the family's `SevereCaseReader`, ``module:class``.
    source : dict
        The stored data as it is before the session: nothing that the session changes takes a case out.
    chosen : sequence of str, optional
        The cases that the plant has chosen.
    """

    reader: str
    source: TrainingSource
    chosen: Sequence[str] | None = None


@dataclass(frozen=True)
class SevereResult:
    """How many cases were locked, and which of them a candidate answers safer.

    Parameters
    ----------
    locked : int
        Number of locked cases.
    missing : sequence of str
        Chosen cases that are not stored, or not severe any more.
    """

    locked: int
    safer: Sequence[SaferAnswer] = ()
    missing: Sequence[str] = ()


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
    anchor : int, optional
        The version that the new data was compared with.
    severe : SevereResult, optional
        What the candidate answers to locked severe cases; None where there is no champion to compare with.
    champion_error : str, optional
        Why the champion's files cannot be read, although their hashes are right.
    seconds : dict
        Duration of each stage.
    warnings : list of str
        What of the data was left out, why the anchor is another one, and what is odd about the labels of new records.
    """

    rules: PromotionRules
    scores: Scores
    champion_scores: Scores | None
    impact: DataImpact | None
    certificate: CertificateRecord
    fingerprint: str
    rows: int
    facts: Mapping[str, Any]
    libraries: dict[str, str]
    seconds: dict[str, float]
    warnings: list[str]
    severe: SevereResult | None = None
    champion_error: str | None = None
    anchor: int | None = None

    def describe(self, family: str, options: Options) -> Manifest:
        """Return the part of the manifest that is known before the model is saved."""
        headline = self.rules.headline
        return {
            "model": {"family": family},
            "options": dict(options),
            "headline": {
                "name": headline.name,
                "unit": headline.unit,
                "higher_is_better": headline.higher_is_better,
            },
            "metrics": self.scores.to_dict(),
            "certificate": self.certificate,
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "facts": self.facts,
            "libraries": self.libraries,
        }


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
    severe : SevereCheck, optional
        The severe cases; None for a family without any.
    """

    kind: ClassVar[str] = "train"
    family: str
    source: TrainingSource
    options: Options
    staging: str
    probe: str
    champion: ChampionVersion | None = None
    anchor: ChampionVersion | None = None
    severe: SevereCheck | None = None

    def parse_result(self, data: object) -> TrainResult:
        return rebuild(TrainResult, data)


@dataclass(frozen=True)
class VerifyTask(Task[float]):
    """Load a saved candidate and compare its answers with the probe; the result is the largest deviation."""

    kind: ClassVar[str] = "verify"
    predictor: str
    folder: str
    probe: str

    def parse_result(self, data: object) -> float:
        return rebuild(float, data)


@dataclass(frozen=True)
class DownloadTask(Task[bool]):
    """Write a file that a version does not keep; the result says whether the family has such a file."""

    kind: ClassVar[str] = "download"
    family: str
    folder: str
    target: str

    def parse_result(self, data: object) -> bool:
        return rebuild(bool, data)


@dataclass(frozen=True)
class DrillTask(Task[int]):
    """Open one model of a backup; the result is the number of kept predictions that it answered as before.

    Parameters
    ----------
    folder : str
        The backup.
    model : str
        The model's path, ``tenant/family/name``.
    number : int, optional
        The version that was backed up as its champion.
    store, predictor : str
        Addresses of the family's classes.
    probes : sequence of (str, str)
        Questions that it answered while it served, and its answers, both encoded.
    """

    kind: ClassVar[str] = "drill"
    folder: str
    model: str
    number: int | None
    store: str
    predictor: str
    probes: Sequence[tuple[str, str]] = ()

    def parse_result(self, data: object) -> int:
        return rebuild(int, data)


@dataclass(frozen=True)
class InfluenceTask(Task[list[BatchInfluence]]):
    """Measure what each batch since the anchor does to the model, the most harmful first."""

    kind: ClassVar[str] = "influence"
    family: str
    source: TrainingSource
    options: Options
    anchor: ChampionVersion

    def parse_result(self, data: object) -> list[BatchInfluence]:
        return rebuild(list[BatchInfluence], data)


@dataclass(frozen=True)
class AgreementTask(Task[list[RaterAgreement]]):
    """Measure how those who label a model's records agree with each other."""

    kind: ClassVar[str] = "agreement"
    family: str
    source: TrainingSource
    options: Options

    def parse_result(self, data: object) -> list[RaterAgreement]:
        return rebuild(list[RaterAgreement], data)


@dataclass(frozen=True)
class ReportTask(Task[None]):
    """Write the report of a session into a folder."""

    kind: ClassVar[str] = "report"
    facts: ReportFacts
    folder: str

    def parse_result(self, data: object) -> None:
        return None


AnyTask: TypeAlias = Task[Any]

_TASKS: dict[str, type[AnyTask]] = {
    task.kind: task
    for task in (
        TrainTask,
        VerifyTask,
        DownloadTask,
        DrillTask,
        InfluenceTask,
        AgreementTask,
        ReportTask,
    )
}


def task_from_dict(data: Mapping[str, object]) -> AnyTask:
    """Return the task that `Task.to_dict` wrote."""
    fields = {name: value for name, value in data.items() if name != "kind"}
    return rebuild(_TASKS[str(data["kind"])], fields)


def make_portable(source: TrainingSource, home: Path, database_url: str) -> TrainingSource:
    """Replace the home folder and the database URL in a source by placeholders."""

    def replace(text: str) -> str:
        # The database first: the URL of an embedded one holds the path of the home folder.
        if text == database_url:
            return _DATABASE
        return _HOME + text[len(str(home)) :] if text == str(home) or text.startswith(f"{home}/") else text

    return {name: _replace_texts(value, replace) for name, value in source.items()}


def make_local(source: TrainingSource, home: Path, database_url: str) -> TrainingSource:
    """Undo `make_portable` with the home folder and the database URL of this machine."""

    def replace(text: str) -> str:
        if text == _DATABASE:
            return database_url
        return str(home) + text[len(_HOME) :] if text.startswith(_HOME) else text

    return {name: _replace_texts(value, replace) for name, value in source.items()}


def _replace_texts(value: object, replace: Callable[[str], str]) -> object:
    """Replace every text in nested JSON."""
    if isinstance(value, dict):
        return {name: _replace_texts(part, replace) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_texts(part, replace) for part in value]
    return replace(value) if isinstance(value, str) else value
