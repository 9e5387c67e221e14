"""What a child process does: train a candidate, or prove that a saved one answers as it should.

Every family is trained by the one recipe below. A task is a JSON object; it names the halves of the family as
``module:class``, so a child needs no registry.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from errors import LeakySplit, MillwrightError, TrainingFailed
from prediction import model_files
from prediction.contract import (
    JSON,
    UNREPORTED_FIELDS,
    Champion,
    ModelFamily,
    ParityProbe,
    Predictor,
    PreparedData,
    Progress,
    Resources,
    Scores,
    no_progress,
)
from storage import fault_injection
from storage.filesystem.files import storage_errors
from training.execution.ipc import nan_to_none, serialize_error
from training.execution.log_capture import TRAINING_LOG, capture_output
from training.execution.parity import largest_deviation

Task = Callable[[JSON, Resources, Progress], JSON]

_LIBRARIES = ("numpy", "scipy", "sklearn", "torch", "onnxruntime", "tokenizers")


def train(task: JSON, resources: Resources, announce: Progress) -> JSON:
    """Train a candidate into the task's staging folder and measure it beside the champion.

    Parameters
    ----------
    task : mapping
        ``family`` (address), ``source``, ``options``, ``staging`` (an empty folder), ``probe`` (the file to
        write the probe to) and ``champion`` (``{"number", "folder", "manifest"}`` or None).

    Returns
    -------
    dict
        ``rules`` of the family, ``scores``, ``champion_scores``, ``harm``, ``certificate``, ``fingerprint``,
        ``rows``, ``facts``, ``libraries`` and ``seconds`` by stage.

    Raises
    ------
    LeakySplit
        The split certificate does not hold.
    """
    with capture_output(Path(task["staging"]) / TRAINING_LOG):
        return _trained(task, resources, announce)


def _trained(task: JSON, resources: Resources, announce: Progress) -> JSON:
    family: ModelFamily[Any, Any] = import_object(task["family"])()
    options = task["options"]
    clock = _Clock(announce)

    clock.stage("prepare")
    prepared = family.prepare(task["source"], options, resources)
    refuse_leaks(prepared)
    fault_injection.fault_point("child.prepared")

    clock.stage("fit")
    model = family.fit(prepared, options, announce)
    fault_injection.fault_point("child.fitted")

    clock.stage("evaluate")
    scores = family.evaluate(model, prepared)
    beside = _beside_champion(family, model, prepared, task)

    clock.stage("refit")
    model = family.refit(model, prepared, options, announce)

    clock.stage("save")
    judged = {"rules": _rules(family, options), "scores": _scores(scores), **beside}
    told = {**judged, **_described(prepared), "libraries": _libraries()}
    with storage_errors(Path(task["staging"])):
        family.save(model, prepared, Path(task["staging"]))
        model_files.add_common_fields(Path(task["staging"]), _as_in_manifest(family, options, told))
        _write_probe(family.build_probe(model, prepared), Path(task["probe"]))
    fault_injection.fault_point("child.saved")
    return {**told, "seconds": clock.seconds()}


def verify(task: JSON, resources: Resources, announce: Progress) -> JSON:
    """Load a saved candidate as a web worker would and compare its answers with the probe's.

    Raises
    ------
    ParityFailed
        An answer differs from the trained model's by more than the probe's tolerance.
    """
    predictor: type[Predictor] = import_object(task["predictor"])
    loaded = predictor.load(Path(task["folder"]), resources)
    fault_injection.fault_point("verify.loaded")
    probe = ParityProbe(**json.loads(Path(task["probe"]).read_text()))
    answer = partial(loaded.predict, options=probe.options)
    return {"deviation": largest_deviation(answer, probe)}


def download(task: JSON, resources: Resources, announce: Progress) -> JSON:
    """Make a download that a version does not keep; ``made`` is false where there is no such file."""
    family: ModelFamily[Any, Any] = import_object(task["family"])()
    made = family.download(Path(task["folder"]), task["file"], Path(task["target"]))
    return {"made": made}


def train_batch(task: JSON, resources: Resources, announce: Progress) -> JSON:
    """Do the ``items``, each a task of :func:`train`; one failure stops no other."""
    return _one_by_one(train, task["items"], resources, announce)


def verify_batch(task: JSON, resources: Resources, announce: Progress) -> JSON:
    """Do the ``items``, each a task of :func:`verify`, announcing each one's end."""
    return _one_by_one(verify, task["items"], resources, announce)


def _one_by_one(do: Task, items: Sequence[JSON], resources: Resources, announce: Progress) -> JSON:
    for number, item in enumerate(items):
        try:
            announce("item", number=number, done=do(item, resources, no_progress))
        except MillwrightError as error:
            announce("item", number=number, failed=serialize_error(error))
        except Exception as error:  # one model's data must not take the others down
            crash = TrainingFailed(f"Training failed: {type(error).__name__}: {error}")
            announce("item", number=number, failed=serialize_error(crash))
    return {"items": len(items)}


def report(task: JSON, resources: Resources, announce: Progress) -> JSON:
    """Write the report of a session into the task's ``folder``."""
    from reports.build import build_report

    folder = Path(task["folder"])
    with storage_errors(folder):
        build_report(task["facts"], folder, task["endpoint"])
    return {}


TASKS: dict[str, Task] = {
    "train": train,
    "train_fleet": train_batch,
    "verify": verify,
    "verify_fleet": verify_batch,
    "download": download,
    "report": report,
}


def refuse_leaks(prepared: PreparedData) -> None:
    """Raise LeakySplit where the certificate does not hold; nothing is fitted on such a split."""
    violations = prepared.certificate.violations()
    if violations:
        raise LeakySplit(
            f"The training and held-out data are not separate: {'; '.join(violations)}. No model was made.",
            violations=violations,
        )


def import_object(address: str) -> Any:
    """The class that an address ``module:class`` names."""
    module, name = address.split(":")
    return getattr(import_module(module), name)


def _beside_champion(family: ModelFamily[Any, Any], model: Any, prepared: PreparedData, task: JSON) -> JSON:
    """The champion's scores on the same held-out samples, and what the new data does to old answers."""
    if task["champion"] is None:
        return {"champion_scores": None, "harm": None}
    champion = Champion(**{**task["champion"], "folder": Path(task["champion"]["folder"])})
    scores = family.evaluate_champion(champion, prepared, task["options"])
    harm = family.assess_new_data(model, champion, prepared, task["options"])
    return {
        "champion_scores": _scores(scores) if scores else None,
        "harm": harm
        and {
            "losses_without": list(harm.losses_without),
            "losses_with": list(harm.losses_with),
            "losses_on_new": list(harm.losses_on_new),
            "max_loss_on_new": harm.max_loss_on_new,
            "reasons": list(harm.reasons),
        },
    }


def _described(prepared: PreparedData) -> JSON:
    """What the manifest says of the data."""
    return {
        "certificate": prepared.certificate.to_dict(),
        "fingerprint": prepared.fingerprint,
        "rows": prepared.rows,
        "facts": dict(prepared.facts),
    }


def _as_in_manifest(family: ModelFamily[Any, Any], options: JSON, told: JSON) -> JSON:
    """What the manifest will say of the model, as far as it is known while it is saved."""
    scores = {name: value for name, value in told["scores"].items() if name not in UNREPORTED_FIELDS}
    data = {name: told[name] for name in ("certificate", "fingerprint", "rows", "facts", "libraries")}
    model = {"model": {"family": family.name}, "headline": told["rules"]["headline"], "options": options}
    known: JSON = nan_to_none({**model, **data, "metrics": scores})
    return known


def _rules(family: ModelFamily[Any, Any], options: JSON) -> JSON:
    """What the gate has to know of the family and of what was asked for."""
    return {
        "headline": asdict(family.headline),
        "requires_improvement": family.requires_improvement,
        "requires_baseline": family.requires_baseline,
        "guardrail_metrics": [asdict(metric) for metric in family.guardrail_metrics],
        "limits": dict(family.metric_limits(options)),
        "by_hand": options.get("promote") == "manual",
    }


def _scores(scores: Scores) -> JSON:
    return {**scores.to_dict(), "losses": list(scores.losses), "figures": list(scores.figures)}


def _write_probe(probe: ParityProbe, path: Path) -> None:
    content = {
        "inputs": list(probe.inputs),
        "expected": list(probe.expected),
        "tolerance": probe.tolerance,
        "options": probe.options,
    }
    path.write_text(json.dumps(content))


def _libraries() -> dict[str, str]:
    """Versions of what was used, for the manifest."""
    used = {name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules}
    return {"python": sys.version.split()[0], **used}


class _Clock:
    """Announces the stages and measures how long each takes."""

    def __init__(self, announce: Progress) -> None:
        self._announce = announce
        self._started: list[tuple[str, float]] = []

    def stage(self, name: str) -> None:
        self._started.append((name, time.monotonic()))
        self._announce(name)

    def seconds(self) -> dict[str, float]:
        ends = [at for _, at in self._started[1:]] + [time.monotonic()]
        return {name: round(end - at, 4) for (name, at), end in zip(self._started, ends, strict=True)}
