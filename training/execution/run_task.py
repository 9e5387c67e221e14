"""Do a task: train a candidate, verify a saved one, write a download or a report.

Tasks name the halves of a family as ``module:class``, so a worker needs no registry.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

import structlog

from errors import ArtefactCorrupt, LeakySplit, MillwrightError, NotFound, TrainingFailed, describe_error
from prediction import model_files
from prediction.contract import (
    AnyFamily,
    AnyPredictor,
    BatchInfluence,
    Champion,
    DataImpact,
    ModelKey,
    Options,
    ParityProbe,
    PreparedData,
    Progress,
    RaterAgreement,
    RecordStore,
    Resources,
    Scores,
    SevereCaseReader,
)
from prediction.severe_cases import find_safer_answers, lock_cases
from settings import Settings
from storage import fault_injection
from storage.db.kept_predictions import decode, encode_exactly
from storage.filesystem.checked_write import save_json
from storage.filesystem.files import storage_errors
from storage.models.versions import VersionStore
from training.execution.ipc import nan_to_none
from training.execution.log_capture import TRAINING_LOG, capture_output
from training.execution.parity import largest_deviation
from training.execution.tasks import (
    AgreementTask,
    AnyTask,
    ChampionVersion,
    DownloadTask,
    DrillTask,
    InfluenceTask,
    ReportTask,
    SevereResult,
    TrainResult,
    TrainTask,
    VerifyTask,
    make_local,
)
from training.gate import PromotionRules

log = structlog.get_logger()

# Libraries whose versions a manifest records, if the training imported them.
_LIBRARIES: Final = ("numpy", "scipy", "sklearn", "coniferest", "torch", "onnxruntime", "tokenizers")


@dataclass(frozen=True)
class TaskContext:
    """The machine that a task runs on."""

    settings: Settings
    resources: Resources

    @classmethod
    def from_settings(cls, settings: Settings) -> TaskContext:
        """Return the context of a server with these settings."""
        return cls(settings, Resources(settings.cache_dir, settings.sentence_model))

    def path(self, name: str) -> Path:
        """Return the path of a file that a task names."""
        return self.settings.home / name

    def champion(self, version: ChampionVersion) -> Champion:
        """Return a version that a task names as families read it."""
        return Champion(version.number, self.path(version.folder), version.manifest)


def run_task(task: AnyTask, context: TaskContext, progress: Progress) -> object:
    """Do a task and return its result."""
    fault_injection.fault_point("child.started")
    result: object = None
    match task:
        case TrainTask():
            result = train(task, context, progress)
        case VerifyTask():
            result = verify(task, context)
        case DownloadTask():
            family: AnyFamily = resolve_name(task.family)()
            target = context.path(task.target)
            result = family.download(context.path(task.folder), target.name, target)
        case DrillTask():
            result = open_from_backup(task, context)
        case InfluenceTask():
            result = measure_influence(task, context)
        case AgreementTask():
            result = measure_agreement(task, context)
        case ReportTask():
            write_report(task, context)
        case _:
            raise TrainingFailed(f"This worker cannot do a task of kind {task.kind!r}")
    return result


def train(task: TrainTask, context: TaskContext, progress: Progress) -> TrainResult:
    """Train a candidate into the task's staging folder.

    Raises
    ------
    LeakySplit
        The split certificate does not hold.
    """
    family: AnyFamily = resolve_name(task.family)()
    staging, options = context.path(task.staging), task.options
    source = make_local(task.source, context.settings.home, context.settings.database)
    clock = _StageClock(progress)
    with capture_output(staging / TRAINING_LOG):
        clock.start("prepare")
        prepared = family.prepare(source, options, context.resources)
        refuse_leaks(prepared)
        fault_injection.fault_point("child.prepared")

        clock.start("fit")
        model = family.fit(prepared, options, progress)
        fault_injection.fault_point("child.fitted")

        clock.start("evaluate")
        scores = family.evaluate(model, prepared)
        comparison = compare_with_champion(family, model, prepared, task, context)
        champion = context.champion(task.champion) if task.champion and not comparison.error else None
        review = _review_new_records(family, model, champion, prepared, options)
        warnings = [*prepared.warnings, *comparison.warnings, *review]

        clock.start("refit")
        model = family.refit(model, prepared, options, progress)

        clock.start("save")
        result = TrainResult(
            rules=PromotionRules.for_training(family, options),
            scores=scores,
            champion_scores=comparison.scores,
            impact=comparison.impact,
            anchor=comparison.anchor.number if comparison.anchor else None,
            champion_error=comparison.error,
            certificate=prepared.certificate.to_dict(),
            fingerprint=prepared.fingerprint,
            rows=prepared.rows,
            facts=dict(prepared.facts),
            libraries=_library_versions(),
            seconds=clock.seconds,
            warnings=warnings,
        )
        with storage_errors(staging):
            family.save(model, prepared, staging)
            model_files.add_common_fields(staging, nan_to_none(result.describe(family.name, options)))
            save_json(context.path(task.probe), asdict(family.build_probe(model, prepared)))
        if comparison.error is None:
            result = _add_severe_cases(result, replace(task, anchor=comparison.anchor), context)
        fault_injection.fault_point("child.saved")
        clock.stop()
    return result


def _review_new_records(
    family: AnyFamily, model: object, champion: Champion | None, prepared: PreparedData, options: Options
) -> list[str]:
    """Return what the family says about the new records; a damaged champion has no say about them."""
    try:
        return family.reviewer.review_new_records(model, champion, prepared, options)
    except ArtefactCorrupt:
        return family.reviewer.review_new_records(model, None, prepared, options)


def _add_severe_cases(result: TrainResult, task: TrainTask, context: TaskContext) -> TrainResult:
    """Compare the saved candidate, as it will answer, with the champion on the locked severe cases.

    Where there is nothing to compare, the result stays as it is; where the champion cannot be read, it gets a warning.
    """
    if task.severe is None or task.champion is None:
        return result
    reader: SevereCaseReader = resolve_name(task.severe.reader)()
    chosen = task.severe.chosen
    try:
        locked = lock_cases(
            reader,
            make_local(task.severe.source, context.settings.home, context.settings.database),
            context.path(task.champion.folder),
            context.resources,
            anchor=context.path(task.anchor.folder) if task.anchor else None,
            chosen=chosen,
        )
    except ArtefactCorrupt as error:
        warning = f"The locked severe cases were not compared with the serving version: {error.message}"
        return replace(result, warnings=[*result.warnings, warning])
    if locked is None:
        return result
    safer = find_safer_answers(reader, locked, context.path(task.staging), context.resources)
    if safer is None:
        raise TrainingFailed("The new version cannot be asked about the locked severe cases")
    found = {entry.case.id for entry in locked}
    missing = [case for case in chosen or () if case not in found]
    return replace(result, severe=SevereResult(len(locked), safer, missing))


@dataclass(frozen=True)
class ChampionComparison:
    """How the champion does on the same data.

    Parameters
    ----------
    anchor : ChampionVersion, optional
        The version that the new data was compared with.
    error : str, optional
        Why the champion's files cannot be read.
    warnings : list of str
        Why the anchor is another one than the task named.
    """

    scores: Scores | None = None
    impact: DataImpact | None = None
    anchor: ChampionVersion | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)


def compare_with_champion(
    family: AnyFamily, model: object, prepared: PreparedData, task: TrainTask, context: TaskContext
) -> ChampionComparison:
    """Evaluate the champion, and what the new data does to the anchor's answers.

    Files that only trainings read may be damaged under a hash that fits: written by an earlier version on a
    full disk, say. Such a champion serves, and must not make every training fail. Any other error is raised: it says
    nothing about the champion, and a gate without a champion to compare with lets everything pass.
    """
    champion = task.champion
    if champion is None:
        return ChampionComparison()
    warnings = []
    try:
        scores = family.evaluate_champion(context.champion(champion), prepared, task.options)
        try:
            anchor = task.anchor or champion
            impact = family.reviewer.assess_new_data(model, context.champion(anchor), prepared, task.options)
        except (ArtefactCorrupt, NotFound) as error:
            if anchor.number == champion.number:
                raise
            log.warning("anchor_not_compared", version=anchor.number, reason=error.message)
            warnings.append(
                f"The new data was compared with the serving version {champion.number} in place of the older version "
                f"{anchor.number}, which cannot be read ({error.message}): harm that adds up over several sessions "
                "may stay unseen"
            )
            anchor = champion
            impact = family.reviewer.assess_new_data(model, context.champion(anchor), prepared, task.options)
    except (ArtefactCorrupt, NotFound) as error:
        log.exception("champion_not_compared", version=champion.number)
        return ChampionComparison(error=error.message)
    return ChampionComparison(scores, impact, anchor, warnings=warnings)


def verify(task: VerifyTask, context: TaskContext) -> float:
    """Return the largest deviation of a saved candidate's answers from those of the trained model.

    The candidate is loaded as a web worker would load it.

    Raises
    ------
    ParityFailed
        An answer deviates by more than the probe's tolerance.
    """
    predictor: type[AnyPredictor] = resolve_name(task.predictor)
    loaded = predictor.load(context.path(task.folder), context.resources)
    fault_injection.fault_point("verify.loaded")
    probe = ParityProbe(**json.loads(context.path(task.probe).read_text()))
    return largest_deviation(partial(loaded.predict, options=probe.options), probe)


def measure_influence(task: InfluenceTask, context: TaskContext) -> Sequence[BatchInfluence]:
    """Return what each batch since the anchor does to the model, the most harmful first."""
    family: AnyFamily = resolve_name(task.family)()
    source = make_local(task.source, context.settings.home, context.settings.database)
    prepared = family.prepare(source, task.options, context.resources)
    return family.reviewer.measure_influence(context.champion(task.anchor), prepared, task.options)


def measure_agreement(task: AgreementTask, context: TaskContext) -> Sequence[RaterAgreement]:
    """Return how those who label the stored records agree with each other."""
    family: AnyFamily = resolve_name(task.family)()
    source = make_local(task.source, context.settings.home, context.settings.database)
    return family.reviewer.measure_agreement(family.prepare(source, task.options, context.resources))


def write_report(task: ReportTask, context: TaskContext) -> None:
    """Write the report of a session; the configured language model, if any, writes its words."""
    from reports.build import build_report
    from reports.narrative.endpoint import Endpoint

    settings, folder = context.settings, context.path(task.folder)
    endpoint = None
    if settings.language_model_url:
        endpoint = Endpoint(
            url=settings.language_model_url,
            model=settings.language_model,
            key=settings.language_model_key,
            timeout_seconds=settings.language_model_timeout_seconds,
            allow_private=settings.language_model_allow_private,
        )
    with storage_errors(folder):
        build_report(task.facts, folder, endpoint)


def open_from_backup(task: DrillTask, context: TaskContext) -> int:
    """Read a model's data in a backup, load its champion, and answer kept predictions again.

    Nothing in the backup changes.

    Raises
    ------
    DataFileInvalid, ArtefactCorrupt
        The data cannot be read; the champion cannot be loaded or answers otherwise.
    """
    folder = context.path(task.folder)
    records: RecordStore = resolve_name(task.store)(folder / "data", None)
    records.check_data(ModelKey.from_path(task.model), adopt=False)
    if task.number is None:
        return 0
    # The server has compared every byte before.
    version = VersionStore(folder / "models").get(task.model, task.number)
    try:
        predictor: AnyPredictor = resolve_name(task.predictor).load(version.folder, context.resources)
        for question, answers in task.probes:
            asked = decode(question.encode())
            predictions = predictor.predict(asked["inputs"], asked["options"])
            if encode_exactly(predictions) != answers.encode():
                raise ArtefactCorrupt(f"version {task.number} does not answer as it did when it served")
    except MillwrightError:
        raise
    except Exception as error:  # the libraries that read networks raise exceptions of their own
        raise ArtefactCorrupt(f"version {task.number} cannot be loaded: {describe_error(error)}") from error
    return len(task.probes)


def refuse_leaks(prepared: PreparedData) -> None:
    """Raise LeakySplit if the split certificate does not hold; such data trains nothing."""
    if violations := prepared.certificate.violations():
        raise LeakySplit(
            f"The training and held-out data are not separate: {'; '.join(violations)}. No model was made.",
            violations=violations,
        )


def _library_versions() -> dict[str, str]:
    versions: dict[str, str] = {
        name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules
    }
    return {"python": sys.version.split()[0], **versions}


class _StageClock:
    """Announces the stages of a training and measures their durations in ``seconds``."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._stage: str | None = None
        self._started = 0.0

    def start(self, stage: str) -> None:
        self.stop()
        self._stage, self._started = stage, time.monotonic()
        self._progress(stage)

    def stop(self) -> None:
        if self._stage is not None:
            self.seconds[self._stage] = round(time.monotonic() - self._started, 4)
