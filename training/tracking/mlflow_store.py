"""Sessions as runs of MLflow, versions as versions of its registered models; for the tracker alone."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from prediction.contract import JSON, ModelKey
from storage.filesystem.files import link_or_copy, list_regular_files, make_folders

_MOST_METRICS, _MOST_PARAMS, _LONGEST_PARAM, _LONGEST_TAG = 1_000, 100, 6_000, 5_000
_STATUS: Final = {"completed": "FINISHED", "rejected": "FINISHED", "failed": "FAILED"}
_VERSION: Final = "version"
"""The folder of a run's artefacts that holds the files of the version."""


class MlflowStore:
    """A tracking store and its model registry.

    Parameters
    ----------
    uri : str
        ``sqlite:///…``, ``postgresql://…`` or the address of a server.
    folder : Path
        Below it lie the artefacts of a local store.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        make_folders(folder)
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._artifacts = None if uri.startswith(("http://", "https://")) else folder / "artifacts"

    def carry(self, note: JSON) -> None:
        """Take over one note; a note that was taken over before, or half, does not make a second run."""
        key = ModelKey(**note["model"])
        if note["kind"] == "performance":
            self._add_performance(key, note)
        else:
            self._add_session(key, note)

    def _add_session(self, key: ModelKey, note: JSON) -> None:
        session, folder = note["session"], _folder(note["version"])
        manifest = _read(folder, "manifest.json")
        options = manifest.get("options") or session["options"]
        experiment = self._experiment(key, options.get("experiment_name") or key.family)
        run = self._fresh_run(experiment, note["id"], _run_name(key, session, options), _began(session))
        run_id, ended = run.info.run_id, _milliseconds(session["ended_at"]) or _began(session)
        self._mark(run_id, _tags(key, session, manifest))
        self._log(run_id, _params(options), [*_epochs(folder, ended), *_final(session, manifest, ended)])
        if session["details"].get("items"):
            self._client.log_dict(run_id, {"items": session["details"]["items"]}, "items.json")
        kept = folder is not None and folder.is_dir()
        if folder is not None and kept:
            self._keep_files(run, folder)
        self._client.set_terminated(run_id, _STATUS.get(session["state"], "KILLED"), ended)
        if kept:
            self._register(key, run, session)

    def _add_performance(self, key: ModelKey, note: JSON) -> None:
        """One run a model holds how it does in production, with a step for each time it was measured."""
        experiment = self._experiment(key, key.family)
        mark = f"production_performance of {key.tenant}/{key}"
        run = self._run_of(experiment, mark)
        if run is None:
            run = self._client.create_run(
                experiment, tags={"millwright.note": mark}, run_name=f"production_performance {key.name}"
            )
            self._mark(run.info.run_id, _named_tags(key))
        at = int(note["id"][:20]) // 1_000_000
        metrics = list(_metrics(note["performance"], at, at // 1000, prefix="production_performance."))
        self._log(run.info.run_id, (), metrics)
        self._client.set_terminated(run.info.run_id)

    def _experiment(self, key: ModelKey, name: str) -> str:
        """The id of an experiment; other tenants' names stand behind the tenant's."""
        name = name if key.tenant == "default" else f"{key.tenant}/{name}"
        known = self._client.get_experiment_by_name(name)
        if known is None:
            below = self._artifacts
            place = None if below is None else (below / _file_name(name)).as_uri()
            made: str = self._client.create_experiment(name, artifact_location=place)
            return made
        if known.lifecycle_stage == "deleted":
            self._client.restore_experiment(known.experiment_id)
        found: str = known.experiment_id
        return found

    def _fresh_run(self, experiment: str, note: str, name: str, began: int) -> Run:
        """A new run; what an earlier try has left half done under the same note is deleted."""
        left = self._run_of(experiment, note)
        if left is not None:
            self._client.delete_run(left.info.run_id)
        return self._client.create_run(experiment, began, tags={"millwright.note": note}, run_name=name)

    def _run_of(self, experiment: str, note: str) -> Run | None:
        found = self._client.search_runs([experiment], f"tags.`millwright.note` = '{note}'", max_results=1)
        return found[0] if found else None

    def _mark(self, run_id: str, tags: Mapping[str, str]) -> None:
        marks = [RunTag(name, value[:_LONGEST_TAG]) for name, value in tags.items()]
        self._client.log_batch(run_id, tags=marks)

    def _log(self, run_id: str, params: Sequence[Param], metrics: Sequence[Metric]) -> None:
        """In batches as large as MLflow takes them."""
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(run_id, params=params[first : first + _MOST_PARAMS])
        for first in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(run_id, metrics=metrics[first : first + _MOST_METRICS])

    def _keep_files(self, run: Run, folder: Path) -> None:
        """The version's files as artefacts: a second name on this machine, a copy on a server."""
        if not run.info.artifact_uri.startswith("file:"):
            self._client.log_artifacts(run.info.run_id, str(folder), _VERSION)
            return
        from mlflow.utils.file_utils import local_file_uri_to_path

        place = local_file_uri_to_path(run.info.artifact_uri)  # type: ignore[no-untyped-call]
        target = Path(place) / _VERSION
        for name in list_regular_files(folder):
            make_folders((target / name).parent)
            link_or_copy(folder / name, target / name)

    def _register(self, key: ModelKey, run: Run, session: JSON) -> None:
        """The version in the registry, under ``<tenant>.<family>.<name>``."""
        name = f"{key.tenant}.{key.family}.{key.name}"
        try:
            self._client.create_registered_model(name, tags=_named_tags(key))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        facts = {f"millwright.{word}": _said(session[word]) for word in ("version", "promoted")}
        why = "; ".join(session["reasons"])[:_LONGEST_TAG]
        source = f"{run.info.artifact_uri}/{_VERSION}"
        self._client.create_model_version(name, source, run.info.run_id, tags=facts, description=why)


def _folder(said: str | None) -> Path | None:
    return None if said is None else Path(said)


def _read(folder: Path | None, name: str) -> JSON:
    """A JSON file of the version; nothing where it is not there."""
    if folder is None or not (folder / name).is_file():
        return {}
    content: JSON = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def _run_name(key: ModelKey, session: JSON, options: JSON) -> str:
    return options.get("run_name") or f"{key.name} session {session['id']}"


def _params(options: JSON) -> list[Param]:
    return [Param(_metric_name(name), _said(value)[:_LONGEST_PARAM]) for name, value in options.items()]


def _tags(key: ModelKey, session: JSON, manifest: JSON) -> dict[str, str]:
    told = {name: session[name] for name in ("version", "kind", "state", "promoted", "reasons", "error")}
    told |= {"session": session["id"], "fingerprint": manifest.get("fingerprint")}
    known = {f"millwright.{name}": _said(value) for name, value in told.items() if value is not None}
    return {**_named_tags(key), **known, "mlflow.note.content": session["message"] or ""}


def _named_tags(key: ModelKey) -> dict[str, str]:
    names = {"model": str(key), "family": key.family, "name": key.name, "tenant": key.tenant}
    return {f"millwright.{name}": value for name, value in names.items()}


def _epochs(folder: Path | None, at: int) -> Iterator[Metric]:
    """Every number of every epoch; of an ensemble's further members behind their number."""
    history = _read(folder, "training_history.json")
    members = history.get("members") or [history]
    for number, member in enumerate(members, 1):
        prefix = "" if number == 1 else f"member_{number}."
        for epoch in member.get("epochs") or ():
            numbers = {name: value for name, value in epoch.items() if name != "epoch"}
            yield from _metrics(numbers, at, int(epoch["epoch"]), prefix)


def _final(session: JSON, manifest: JSON, at: int) -> Iterator[Metric]:
    """What was measured on held-out data, the simple rules beside it, and the session's time."""
    told = manifest.get("metrics") or session["metrics"]
    yield from _metrics(told.get("metrics") or {}, at)
    yield from _metrics(told.get("baselines") or {}, at, prefix="baseline.")
    plain = {name: value for name, value in told.items() if name not in ("metrics", "baselines")}
    plain["training_time_seconds"] = session["training_time_seconds"]
    yield from _metrics(plain, at)


def _metrics(numbers: JSON, at: int, step: int = 0, prefix: str = "") -> Iterator[Metric]:
    """The finite numbers among some values, those of nested ones by their path; the rest is left out."""
    for name, value in numbers.items():
        full = f"{prefix}{_metric_name(str(name))}"
        if isinstance(value, dict):
            yield from _metrics(value, at, step, f"{full}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield Metric(full, float(value), at, step)


def _metric_name(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:200]


def _file_name(name: str) -> str:
    plain = re.sub(r"[^\w\-]", "_", name, flags=re.ASCII)[:60]
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _began(session: JSON) -> int:
    return _milliseconds(session["started_at"]) or _milliseconds(session["created_at"]) or 0


def _milliseconds(said: str | None) -> int | None:
    return None if said is None else round(datetime.fromisoformat(said).timestamp() * 1000)
