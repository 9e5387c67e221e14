"""Sessions as MLflow runs, and versions as versions of its registered models. Only the uploader imports this."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from errors import StorageFailed
from prediction.contract import ModelKey
from storage.db.sessions import BatchItem, SessionRecord
from storage.filesystem.checked_write import link_or_copy, save_json
from storage.filesystem.files import list_regular_files, make_folders
from storage.models.manifest import Manifest
from training.tracking.mlmodel import FILE as MLMODEL
from training.tracking.mlmodel import describe_network
from training.tracking.outbox import TrackingNote

# What MLflow accepts in one request.
_MAX_METRICS, _MAX_PARAMS = 1_000, 100
_MAX_PARAM_LENGTH, _MAX_TAG_LENGTH = 6_000, 5_000
_STATUS: Final = {"completed": "FINISHED", "rejected": "FINISHED", "failed": "FAILED"}
# The columns in which MLflow stores absolute locations of artefacts.
_LOCATIONS: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# The artefact folder of a run that holds the files of the version.
_VERSION: Final = "version"


class MlflowStore:
    """A tracking store and its model registry.

    Parameters
    ----------
    uri : str
        ``sqlite:///…``, ``postgresql://…`` or the address of a server.
    folder : Path
        Folder ``data/tracking`` of the home, for the artefacts of a local store.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        make_folders(folder)
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._home = folder.parents[1]
        self._artifacts = None if uri.startswith(("http://", "https://")) else folder / "artifacts"
        self._sqlite_uri = uri if uri.startswith("sqlite:") else None

    def add(self, note: TrackingNote) -> None:
        """Add what a note says. Adding it again, after success or half-way, makes no second run."""
        key = ModelKey(**note["model"])
        if note["kind"] == "performance":
            self._add_performance(key, note["id"], note["performance"])
        else:
            self._add_session(key, note, note["session"])

    def _add_session(self, key: ModelKey, note: TrackingNote, session: SessionRecord) -> None:
        # Notes of version 0.1 name the whole path, which replaces the home folder here.
        folder = None if note["version"] is None else self._home / note["version"]
        manifest = cast("Manifest", _read_json(folder, "manifest.json"))
        options = manifest.get("options") or session["options"]
        experiment = self._experiment(key, options.get("experiment_name") or key.family)
        name = options.get("run_name") or f"{key.name} session {session['id']}"
        started = _milliseconds(session["started_at"]) or _milliseconds(session["created_at"]) or 0
        ended = _milliseconds(session["ended_at"]) or started

        if (half_done := self._find_run(experiment, note["id"])) is not None:
            self._client.delete_run(half_done.info.run_id)
        run = self._client.create_run(
            experiment, started, tags={"millwright.note": note["id"]}, run_name=name
        )
        run_id = run.info.run_id
        self._set_tags(run_id, _session_tags(key, session, manifest))
        params = [
            Param(_metric_name(option), _to_text(value)[:_MAX_PARAM_LENGTH])
            for option, value in options.items()
        ]
        metrics = [*_epoch_metrics(folder, ended), *_final_metrics(session, manifest, ended)]
        self._log(run_id, params, metrics)
        if items := session["details"].get("items"):
            self._add_items(run, items)
        # The version may have been deleted since.
        has_files = folder is not None and folder.is_dir()
        if folder is not None and has_files:
            self._add_files(run, folder)
            self._add_network(run, folder)
        self._client.set_terminated(run_id, _STATUS.get(session["state"], "KILLED"), ended)
        if has_files:
            self._register(key, run, session)

    def _add_performance(self, key: ModelKey, note_id: str, performance: Mapping[str, object]) -> None:
        """Add a step to the run that holds how a model does in production; there is one run per model."""
        experiment = self._experiment(key, key.family)
        marker = f"production_performance of {key.tenant}/{key}"
        run = self._find_run(experiment, marker)
        if run is None:
            run = self._client.create_run(
                experiment, tags={"millwright.note": marker}, run_name=f"production_performance {key.name}"
            )
            self._set_tags(run.info.run_id, _model_tags(key))
        at = int(note_id[:20]) // 1_000_000
        metrics = list(_metrics(performance, at, at // 1000, prefix="production_performance."))
        self._log(run.info.run_id, (), metrics)
        self._client.set_terminated(run.info.run_id)

    def _experiment(self, key: ModelKey, name: str) -> str:
        """Return the id of an experiment; experiments of other tenants have the tenant before their name."""
        name = name if key.tenant == "default" else f"{key.tenant}/{name}"
        experiment = self._client.get_experiment_by_name(name)
        # Names may hold characters that no file system takes, or differ in case only.
        plain = re.sub(r"[^\w\-]", "_", name, flags=re.ASCII)[:60]
        folder_name = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        location = None if self._artifacts is None else (self._artifacts / folder_name).as_uri()
        if experiment is None:
            return str(self._client.create_experiment(name, artifact_location=location))
        stored = experiment.artifact_location
        if (
            location
            and stored != location
            and stored.startswith("file:")
            and stored.endswith(f"/{folder_name}")
        ):
            self._relocate(stored.removesuffix(folder_name), location.removesuffix(folder_name))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _relocate(self, former: str, present: str) -> None:
        """Let everything in the store of a moved or copied home point to the artefacts of this home."""
        # MLflow has no call for this. A database on a server may also serve the home that was copied.
        if self._sqlite_uri is None:
            return
        engine = sa.create_engine(self._sqlite_uri)
        with engine.begin() as connection:
            for table, column in _LOCATIONS:
                cell = sa.column(column, sa.String())
                update = (
                    sa.update(sa.table(table, cell))
                    .where(sa.func.substr(cell, 1, len(former)) == former)
                    .values({column: sa.literal(present).concat(sa.func.substr(cell, len(former) + 1))})
                )
                connection.execute(update)
        engine.dispose()

    def _find_run(self, experiment: str, note: str) -> Run | None:
        runs = self._client.search_runs([experiment], f"tags.`millwright.note` = '{note}'", max_results=1)
        return runs[0] if runs else None

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._client.log_batch(
            run_id, tags=[RunTag(name, value[:_MAX_TAG_LENGTH]) for name, value in tags.items()]
        )

    def _log(self, run_id: str, params: Sequence[Param], metrics: Sequence[Metric]) -> None:
        for start in range(0, len(params), _MAX_PARAMS):
            self._client.log_batch(run_id, params=params[start : start + _MAX_PARAMS])
        for start in range(0, len(metrics), _MAX_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS])

    def _add_items(self, run: Run, items: Sequence[BatchItem]) -> None:
        """Add what a batch did with each of its models."""
        artifacts = _local_artifacts(run)
        if artifacts is None:
            self._client.log_dict(run.info.run_id, {"items": items}, "items.json")
        else:
            make_folders(artifacts)
            save_json(artifacts / "items.json", {"items": items})

    def _add_files(self, run: Run, folder: Path) -> None:
        """Add the version's files as artefacts: hard links on this machine, copies on a server."""
        artifacts, names = _local_artifacts(run), list_regular_files(folder)
        if artifacts is None:
            self._client.log_artifacts(run.info.run_id, str(folder), _VERSION)
            self._check_sizes(run.info.run_id, {f"{_VERSION}/{name}": folder / name for name in names})
            return
        for name in names:
            target = artifacts / _VERSION / name
            make_folders(target.parent)
            link_or_copy(folder / name, target)

    def _add_network(self, run: Run, folder: Path) -> None:
        """Add the file by which MLflow loads the network, where the version has one."""
        created_at = f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"
        description = describe_network(folder, run.info.run_id, created_at)
        if description is None:
            return
        artifacts = _local_artifacts(run)
        if artifacts is None:
            # JSON is YAML, which MLflow reads.
            self._client.log_text(run.info.run_id, json.dumps(description), f"{_VERSION}/{MLMODEL}")
        else:
            save_json(artifacts / _VERSION / MLMODEL, description)

    def _check_sizes(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Raise unless the server holds every byte of these files: the note is then uploaded once more."""
        folders = {str(Path(name).parent) for name in files}
        entries = [entry for folder in folders for entry in self._client.list_artifacts(run_id, folder)]
        stored = {entry.path: entry.file_size for entry in entries}
        for name, file in files.items():
            if stored.get(name) != file.stat().st_size:
                raise StorageFailed(f"{name} did not arrive whole: the server has {stored.get(name)} bytes")

    def _register(self, key: ModelKey, run: Run, session: SessionRecord) -> None:
        """Add the version to the registry, under ``<tenant>.<family>.<name>``."""
        name = f"{key.tenant}.{key.family}.{key.name}"
        try:
            self._client.create_registered_model(name, tags=_model_tags(key))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {
            "millwright.version": _to_text(session["version"]),
            "millwright.promoted": _to_text(session["promoted"]),
        }
        reasons = "; ".join(session["reasons"])[:_MAX_TAG_LENGTH]
        source = f"{run.info.artifact_uri}/{_VERSION}"
        self._client.create_model_version(name, source, run.info.run_id, tags=tags, description=reasons)


def _local_artifacts(run: Run) -> Path | None:
    """Return the folder of a run's artefacts; None where a server keeps them."""
    if not run.info.artifact_uri.startswith("file:"):
        return None
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(run.info.artifact_uri))  # type: ignore[no-untyped-call]


def _read_json(folder: Path | None, name: str) -> Mapping[str, Any]:
    """Return a JSON file of a version; an empty object if there is none."""
    if folder is None or not (folder / name).is_file():
        return {}
    content: Mapping[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def _session_tags(key: ModelKey, session: SessionRecord, manifest: Manifest) -> dict[str, str]:
    fields: dict[str, object] = {
        "version": session["version"],
        "kind": session["kind"],
        "state": session["state"],
        "promoted": session["promoted"],
        "reasons": session["reasons"],
        "error": session["error"],
        "session": session["id"],
        "fingerprint": manifest.get("fingerprint"),
    }
    tags = {f"millwright.{name}": _to_text(value) for name, value in fields.items() if value is not None}
    return {**_model_tags(key), **tags, "mlflow.note.content": session["message"] or ""}


def _model_tags(key: ModelKey) -> dict[str, str]:
    fields = {"model": str(key), "family": key.family, "name": key.name, "tenant": key.tenant}
    return {f"millwright.{name}": value for name, value in fields.items()}


def _epoch_metrics(folder: Path | None, at: int) -> Iterator[Metric]:
    """Yield every number of every epoch; those of an ensemble's further members with their number."""
    history = _read_json(folder, "training_history.json")
    members = history.get("members") or [history]
    for number, member in enumerate(members, 1):
        prefix = "" if number == 1 else f"member_{number}."
        for epoch in member.get("epochs") or ():
            values = {name: value for name, value in epoch.items() if name != "epoch"}
            yield from _metrics(values, at, int(epoch["epoch"]), prefix)


def _final_metrics(session: SessionRecord, manifest: Manifest, at: int) -> Iterator[Metric]:
    """Yield the metrics on held-out data, the baselines', and the duration of the session."""
    scores: Mapping[str, Any] = manifest.get("metrics") or session["metrics"]
    yield from _metrics(scores.get("metrics") or {}, at)
    yield from _metrics(scores.get("baselines") or {}, at, prefix="baseline.")
    values = {name: value for name, value in scores.items() if name not in ("metrics", "baselines")}
    values["training_time_seconds"] = session["training_time_seconds"]
    yield from _metrics(values, at)


def _metrics(values: Mapping[str, object], at: int, step: int = 0, prefix: str = "") -> Iterator[Metric]:
    """Yield the finite numbers among some values, nested ones by their path."""
    for name, value in values.items():
        full_name = f"{prefix}{_metric_name(str(name))}"
        if isinstance(value, dict):
            yield from _metrics(value, at, step, f"{full_name}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield Metric(full_name, float(value), at, step)


def _metric_name(name: str) -> str:
    """Return a name with the characters that MLflow accepts."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:200]


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _milliseconds(time: str | None) -> int | None:
    return None if time is None else round(datetime.fromisoformat(time).timestamp() * 1000)
