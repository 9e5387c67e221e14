"""Train sensor models, keep them fresh, and say how good they measurably are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, fields, validate

from api.body import json_body
from api.context import manager
from api.idempotency import has_key, name_session
from api.resource import Resource
from api.schemas import Answer
from api.sensors.collection import read
from api.sensors.context import LARGEST_ID, database, sensor_of, tenant
from api.train import STARTS_A_SESSION, Waiting, ended, waits
from api.training_answer import Started, answered, started
from errors import InvalidContent, MillwrightError
from prediction.contract import JSON
from prediction.sensors.intake import KINDS
from prediction.sensors.upkeep import FAMILY, STALE_AFTER, Known, SensorsUpkeep, names_of, quality
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from storage.sensors.tables import anomalies
from training_manager import Outcome

resource = Resource("sensor training", "Train the models of sensors.")


class TrainingOrder(Schema):
    """Which models to train."""

    sensor_id = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, LARGEST_ID),
        metadata={"description": "All sensors, where it is missing and model_type is all."},
    )
    model_type = fields.String(load_default="all", validate=validate.OneOf((*KINDS, "all")))
    options = fields.Dict(load_default=dict, keys=fields.String())


class UpkeepOrder(Schema):
    """What to keep fresh."""

    dry_run = fields.Boolean(load_default=False, truthy={True}, falsy={False})


class ModelResult(Answer):
    """One model: trained, or why not."""

    model = fields.String(required=True)
    sensor_id = fields.Integer(required=True)
    model_type = fields.String(required=True)
    trained = fields.Boolean(required=True)
    version = fields.Integer(allow_none=True)
    metrics = fields.Dict(allow_none=True)
    error = fields.String(allow_none=True)


class TrainingResult(Answer):
    """Every model of one session."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    training_session_id = fields.Integer(required=True, allow_none=True)
    results = fields.List(fields.Nested(ModelResult), required=True)


class TrainedQuery(Schema):
    """Which trained models to list."""

    sensor_id = fields.Integer(validate=validate.Range(1, LARGEST_ID))
    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(load_default=0, validate=validate.Range(0, 2**31))


class TrainedModels(Answer):
    """Trained models."""

    results = fields.List(fields.Dict(), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.Integer(required=True, allow_none=True)


class Analytics(Answer):
    """Counts, coverage, ages and measured quality."""

    sensors = fields.Integer(required=True)
    readings = fields.Integer(required=True)
    quality = fields.Dict(required=True)


def _body(schema: type[Schema], required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


@resource.serves(
    "/api/model-training/",
    {200: TrainingResult, 202: Started},
    query=Waiting,
    body=_body(TrainingOrder),
    errors=(404,),
    **STARTS_A_SESSION,
)
def train_sensor_models(query: dict[str, Any]) -> Any:
    """Train one model, the three of a sensor, or those of all sensors, in one session."""
    order = read(TrainingOrder(), json_body())
    kinds = KINDS if order["model_type"] == "all" else (order["model_type"],)
    if order["sensor_id"] is not None:
        ids = [sensor_of(order["sensor_id"])["id"]]
    elif order["model_type"] == "all":
        ids = Sensors(database()).ids(tenant())
    else:
        raise InvalidContent("Name a sensor_id, or train all models of all sensors with model_type all")
    return _trained(names_of(ids, kinds), order["options"], query)


@resource.serves("/api/model-training/", {200: TrainedModels}, query=TrainedQuery)
def list_trained_models(query: dict[str, Any]) -> dict[str, Any]:
    """The trained models with age, size, metrics and version, and whether they are stale."""
    care = _upkeep()
    names = care.trained(query.get("sensor_id"))
    page = names[query["cursor"] : query["cursor"] + query["limit"]]
    after = query["cursor"] + len(page)
    rows = [_described(care.known(name)) for name in page]
    return {"results": rows, "count": len(rows), "next_cursor": after if after < len(names) else None}


@resource.serves(
    "/api/auto-train/",
    {200: TrainingResult, 202: Started},
    query=Waiting,
    body=_body(UpkeepOrder, required=False),
    **STARTS_A_SESSION,
)
def auto_train(query: dict[str, Any]) -> Any:
    """Train the models that are missing, older than a week, or measurably worse than they promised."""
    order = read(UpkeepOrder(), json_body() or {})
    found = _upkeep().due()
    told = {"due": found.models, "lacking": found.lacking}
    if not found.models or order["dry_run"]:
        said = (
            f"{len(found.models)} models are due" if found.models else "Every model with enough data is fresh"
        )
        return {"success": True, "message": said, "training_session_id": None, "results": [], **told}
    return _trained(list(found.models), {}, query, **told)


@resource.serves("/api/ml-analytics/", {200: Analytics})
def get_analytics() -> dict[str, Any]:
    """Counts, coverage of models, ages, and quality as it was measured on held-out rows."""
    ids = Sensors(database()).ids(tenant())
    care = _upkeep()
    champions = [model for model in map(care.known, care.trained()) if model.manifest is not None]
    ages = [model.age.total_seconds() / 86_400 for model in champions if model.age is not None]
    found = Anomalies(database())
    return {
        "sensors": len(ids),
        "readings": Readings(database()).count(tenant()),
        "calibrations": Calibrations(database()).count(tenant()),
        "anomalies": found.count(tenant()),
        "open_anomalies": found.count(tenant(), [anomalies.c.resolved.is_(False)]),
        "models": len(champions),
        "coverage": {kind: _coverage(champions, kind, len(ids)) for kind in KINDS},
        "oldest_model_days": max(ages, default=None),
        "stale_models": sum(age > STALE_AFTER.days for age in ages),
        "quality": quality(champions),
    }


def _trained(names: list[str], options: JSON, query: JSON, **more: Any) -> Any:
    """Train in one session, and answer with its end or at once."""
    if not names:
        nothing: JSON = {"message": "There are no sensors", "training_session_id": None, "results": []}
        return {"success": True, **nothing}
    patient = waits(query)
    outcome = manager().train_fleet(FAMILY, tenant(), names, options, wait=patient and not has_key())
    assert outcome.session is not None
    name_session(outcome.session.id)
    if not patient:
        body, status, headers = started(outcome.session)
        return {**body, **more}, status, headers
    return {**_told(ended(outcome), bool(more)), **more}


def _told(outcome: Outcome, partly: bool) -> JSON:
    """What became of every model; where nothing could be trained, the first reason is the answer."""
    session = outcome.session
    assert session is not None
    items, ended_well = session.items, session.error is None
    results = [_result(item) for item in items]
    if items and not ended_well and not partly:
        raise _failure(items[0])(items[0]["error"], results=results, training_session_id=session.id)
    if not items:
        answered(outcome)  # raises what the session recorded
    return {
        "success": ended_well,
        "message": session.message,
        "training_session_id": session.id,
        "results": results,
    }


def _failure(item: JSON) -> type[MillwrightError]:
    """The class of an item's error, so that the status tells what a single training would have told."""
    known = {kind.code: kind for kind in _all_errors(MillwrightError)}
    return known.get(item.get("code", ""), MillwrightError)


def _all_errors(kind: type[MillwrightError]) -> Iterator[type[MillwrightError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _all_errors(child)


def _result(item: JSON) -> JSON:
    sensor_id, kind = item["name"].split("-", 1)
    told = {name: item.get(name) for name in ("version", "metrics", "error", "reasons")}
    made = item["state"] != "failed"
    return {
        "model": f"{FAMILY}/{item['name']}",
        "sensor_id": int(sensor_id),
        "model_type": kind,
        "trained": made,
        "promoted": item["state"] == "completed",
        **told,
    }


def _upkeep() -> SensorsUpkeep:
    return SensorsUpkeep(database(), manager().storage.versions, tenant(), manager().live.current)


def _described(model: Known) -> JSON:
    sensor_id, kind = model.name.split("-", 1)
    told = {"model": f"{FAMILY}/{model.name}", "sensor_id": int(sensor_id), "model_type": kind}
    if model.manifest is None or model.age is None:
        return {**told, "version": None, "stale": True}
    return {
        **told,
        "version": model.manifest["version"],
        "created_at": model.manifest["created_at"],
        "age_days": model.age.total_seconds() / 86_400,
        "size_bytes": sum(file["size"] for file in model.manifest["files"].values()),
        "metrics": model.manifest["metrics"],
        "stale": model.age > STALE_AFTER,
    }


def _coverage(champions: list[Known], kind: str, sensors: int) -> float | None:
    return sum(model.name.endswith(kind) for model in champions) / sensors if sensors else None
