"""Do a task: train a candidate, verify a saved one, write a download or a report.

Tasks name the halves of a family as ``module:class``, so a worker needs no registry.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from errors import LeakySplit, TrainingFailed
from prediction import model_files
from prediction.contract import (
    JSON,
    UNREPORTED_FIELDS,
    BatchInfluence,
    Champion,
    ModelFamily,
    ParityProbe,
    Predictor,
    PreparedData,
    Progress,
    Resources,
)
from settings import Settings
from storage import fault_injection
from storage.filesystem.files import storage_errors
from training.execution.ipc import nan_to_none
from training.execution.log_capture import TRAINING_LOG, capture_output
from training.execution.parity import largest_deviation
from training.execution.tasks import (
    ChampionVersion,
    DownloadTask,
    InfluenceTask,
    ReportTask,
    Task,
    TrainResult,
    TrainTask,
    VerifyTask,
    make_local,
)
from training.gate import PromotionRules

_LIBRARIES: Final = ("numpy", "scipy", "sklearn", "coniferest", "torch", "onnxruntime", "tokenizers")
"""Libraries whose versions a manifest records, if the training imported them."""


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


def run_task(task: Task[Any], context: TaskContext, progress: Progress) -> JSON:
    """Do a task and return its result as JSON."""
    fault_injection.fault_point("child.started")
    match task:
        case TrainTask():
            return train(task, context, progress).to_dict()
        case VerifyTask():
            return {"deviation": verify(task, context)}
        case DownloadTask():
            family: ModelFamily[Any, Any] = import_object(task.family)()
            target = context.path(task.target)
            return {"written": family.download(context.path(task.folder), target.name, target)}
        case InfluenceTask():
            return {"batches": [asdict(batch) for batch in measure_influence(task, context)]}
        case ReportTask():
            write_report(task, context)
            return {}
    raise TrainingFailed(f"This worker cannot do a task of kind {task.kind!r}")


def train(task: TrainTask, context: TaskContext, progress: Progress) -> TrainResult:
    """Train a candidate into the task's staging folder.

    Raises
    ------
    LeakySplit
        The split certificate does not hold.
    """
    family: ModelFamily[Any, Any] = import_object(task.family)()
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
        champion_scores = impact = None
        if task.champion is not None:
            champion_scores = family.evaluate_champion(context.champion(task.champion), prepared, options)
            anchor = context.champion(task.anchor or task.champion)
            impact = family.assess_new_data(model, anchor, prepared, options)

        clock.start("refit")
        model = family.refit(model, prepared, options, progress)

        clock.start("save")
        result = TrainResult(
            rules=PromotionRules.for_training(family, options),
            scores=scores,
            champion_scores=champion_scores,
            impact=impact,
            certificate=prepared.certificate.to_dict(),
            fingerprint=prepared.fingerprint,
            rows=prepared.rows,
            facts=dict(prepared.facts),
            libraries=_library_versions(),
            seconds=clock.seconds,
        )
        with storage_errors(staging):
            family.save(model, prepared, staging)
            model_files.add_common_fields(staging, _manifest_preview(family, options, result))
            probe = family.build_probe(model, prepared)
            context.path(task.probe).write_text(json.dumps(asdict(probe)))
        fault_injection.fault_point("child.saved")
        clock.stop()
    return result


def verify(task: VerifyTask, context: TaskContext) -> float:
    """Return the largest deviation of a saved candidate's answers from those of the trained model.

    The candidate is loaded as a web worker would load it.

    Raises
    ------
    ParityFailed
        An answer deviates by more than the probe's tolerance.
    """
    predictor: type[Predictor] = import_object(task.predictor)
    loaded = predictor.load(context.path(task.folder), context.resources)
    fault_injection.fault_point("verify.loaded")
    probe = ParityProbe(**json.loads(context.path(task.probe).read_text()))
    return largest_deviation(partial(loaded.predict, options=probe.options), probe)


def measure_influence(task: InfluenceTask, context: TaskContext) -> Sequence[BatchInfluence]:
    """Return what each batch since the anchor does to the model, the most harmful first."""
    family: ModelFamily[Any, Any] = import_object(task.family)()
    source = make_local(task.source, context.settings.home, context.settings.database)
    prepared = family.prepare(source, task.options, context.resources)
    return family.measure_influence(context.champion(task.anchor), prepared, task.options)


def write_report(task: ReportTask, context: TaskContext) -> None:
    """Write the report of a session; the configured language model, if any, writes its words."""
    from reports.build import build_report

    settings, folder = context.settings, context.path(task.folder)
    endpoint = {
        "url": settings.language_model_url,
        "model": settings.language_model,
        "key": settings.language_model_key,
        "seconds": settings.language_model_timeout_seconds,
        "private": settings.language_model_allow_private,
    }
    with storage_errors(folder):
        build_report(task.facts, folder, endpoint if settings.language_model_url else None)


def refuse_leaks(prepared: PreparedData) -> None:
    """Raise LeakySplit if the split certificate does not hold; such data trains nothing."""
    if violations := prepared.certificate.violations():
        raise LeakySplit(
            f"The training and held-out data are not separate: {'; '.join(violations)}. No model was made.",
            violations=violations,
        )


def import_object(address: str) -> Any:
    """Return the object at an address ``module:name``."""
    module, name = address.split(":")
    return getattr(import_module(module), name)


def _manifest_preview(family: ModelFamily[Any, Any], options: JSON, result: TrainResult) -> JSON:
    """Return the part of the manifest that is known while the model is saved."""
    scores = {name: value for name, value in asdict(result.scores).items() if name not in UNREPORTED_FIELDS}
    preview: JSON = nan_to_none(
        {
            "model": {"family": family.name},
            "headline": asdict(result.rules.headline),
            "options": options,
            "certificate": result.certificate,
            "fingerprint": result.fingerprint,
            "rows": result.rows,
            "facts": result.facts,
            "libraries": result.libraries,
            "metrics": scores,
        }
    )
    return preview


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
