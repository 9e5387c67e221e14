"""Train sensor models, keep them fresh, and say how good they measurably are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from marshmallow import Schema, fields, validate

from api.http.context import manager
from api.http.idempotency import assign_session, has_idempotency_key
from api.http.request_body import read_json
from api.http.resource import Resource
from api.http.schemas import OpenSchema, StrictBoolean
from api.sensors.context import MAX_ID, database, get_sensor_row, tenant
from api.sensors.crud import load_body
from api.training.train import STARTS_A_SESSION, WaitQuery, should_wait, wait_for_end
from api.training.training_response import AcceptedView, accepted_response, build_response
from errors import InvalidContent, MillwrightError
from prediction.contract import JSON
from prediction.sensors.model_names import FAMILY, MODEL_KINDS, build_model_names, sort_key
from prediction.sensors.monitoring import (
    MAX_MODEL_AGE,
    ChampionInfo,
    SensorsMonitor,
    sample_evenly,
    summarize_quality,
)
from prediction.serving import ModelCache
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from storage.sensors.tables import anomalies
from training_manager import TrainingOutcome, max_batch_models

resource = Resource("sensor training", "Train the models of sensors.")

MAX_LISTED_MODELS = 1_000
"""Models that an answer names one by one; all are counted."""
MAX_EVALUATED_MODELS = 500
"""Models of a kind whose measured quality is read; more are counted."""


class SensorTrainingRequest(Schema):
    """Which models to train."""

    sensor_id = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, MAX_ID),
        metadata={"description": "All sensors, where it is missing and model_type is all."},
    )
    model_type = fields.String(load_default="all", validate=validate.OneOf((*MODEL_KINDS, "all")))
    options = fields.Dict(load_default=dict, keys=fields.String())


class AutoTrainRequest(Schema):
    """What to keep fresh."""

    dry_run = StrictBoolean(load_default=False)


class SensorModelResultView(OpenSchema):
    """One model: trained, or why not."""

    model = fields.String(required=True)
    sensor_id = fields.Integer(required=True)
    model_type = fields.String(required=True)
    trained = fields.Boolean(required=True)
    version = fields.Integer(allow_none=True)
    metrics = fields.Dict(allow_none=True)
    error = fields.String(allow_none=True)


class SensorTrainingResultView(OpenSchema):
    """Every model of one session."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    training_session_id = fields.Integer(required=True, allow_none=True)
    results = fields.List(
        fields.Nested(SensorModelResultView),
        required=True,
        metadata={"description": f"The first {MAX_LISTED_MODELS:,}; the session has all."},
    )
    results_count = fields.Integer()


class TrainedModelQuery(Schema):
    """Which trained models to list."""

    sensor_id = fields.Integer(validate=validate.Range(1, MAX_ID))
    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 2**34),
        metadata={"description": "next_cursor of the page before."},
    )


class TrainedModelListView(OpenSchema):
    """Trained models."""

    results = fields.List(fields.Dict(), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.Integer(required=True, allow_none=True)


class AnalyticsView(OpenSchema):
    """Counts, coverage, ages and measured quality."""

    sensors = fields.Integer(required=True)
    readings = fields.Integer(required=True)
    quality = fields.Dict(required=True)


def _body(schema: type[Schema], required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


@resource.serves(
    "/api/model-training/",
    {200: SensorTrainingResultView, 202: AcceptedView},
    query=WaitQuery,
    body=_body(SensorTrainingRequest),
    errors=(404,),
    **STARTS_A_SESSION,
)
def train_sensor_models(query: dict[str, Any]) -> Any:
    """Train one model, the three of a sensor, or those of all sensors, in one session."""
    order = load_body(SensorTrainingRequest(), read_json())
    kinds = MODEL_KINDS if order["model_type"] == "all" else (order["model_type"],)
    if order["sensor_id"] is not None:
        ids = [get_sensor_row(order["sensor_id"])["id"]]
    elif order["model_type"] == "all":
        ids = Sensors(database()).list_ids(tenant())
    else:
        raise InvalidContent("Name a sensor_id, or train all models of all sensors with model_type all")
    return _trained(build_model_names(ids, kinds), order["options"], query)


@resource.serves("/api/model-training/", {200: TrainedModelListView}, query=TrainedModelQuery)
def list_trained_models(query: dict[str, Any]) -> dict[str, Any]:
    """The trained models with age, size, metrics and version, and whether they are stale."""
    care, limit = _upkeep(), query["limit"]
    names = care.list_trained_of(query["sensor_id"]) if "sensor_id" in query else care.list_trained()
    left = [name for name in names if _cursor(name) > query["cursor"]]
    rows = [_described(care.get_champion(name)) for name in left[:limit]]
    after = _cursor(left[limit - 1]) if len(left) > limit else None
    return {"results": rows, "count": len(rows), "next_cursor": after}


@resource.serves(
    "/api/auto-train/",
    {200: SensorTrainingResultView, 202: AcceptedView},
    query=WaitQuery,
    body=_body(AutoTrainRequest, required=False),
    **STARTS_A_SESSION,
)
def auto_train(query: dict[str, Any]) -> Any:
    """Train the models that are missing, older than a week, or measurably worse than they promised."""
    order = load_body(AutoTrainRequest(), read_json(absent={}))
    found = _upkeep().plan()
    told = {
        **{"due": _first(found.models), "due_count": len(found.models)},
        **{"lacking": _first(found.insufficient_data), "lacking_count": len(found.insufficient_data)},
    }
    if not found.models or order["dry_run"]:
        said = (
            f"{len(found.models)} models are due" if found.models else "Every model with enough data is fresh"
        )
        return {"success": True, "message": said, "training_session_id": None, "results": [], **told}
    return _trained(list(found.models)[: max_batch_models()], {}, query, **told)


@resource.serves("/api/ml-analytics/", {200: AnalyticsView})
def get_analytics() -> dict[str, Any]:
    """Counts, coverage of models, ages, and quality as it was measured on held-out rows.

    ---
    Of a kind with more than 500 models, ages and quality are those of 500, evenly spread; `measured_on`
    counts the models behind them.
    """
    ids = set(Sensors(database()).list_ids(tenant()))
    care, found = _upkeep(), Anomalies(database())
    group_champions = care.group_champions(ids)
    asked = [
        name for names in group_champions.values() for name in sample_evenly(names, MAX_EVALUATED_MODELS)
    ]
    champions = [model for model in map(care.get_champion, asked) if model.manifest is not None]
    ages = [model.age.total_seconds() / 86_400 for model in champions if model.age is not None]
    return {
        "sensors": len(ids),
        "readings": Readings(database()).count(tenant()),
        "calibrations": Calibrations(database()).count(tenant()),
        "anomalies": found.count(tenant()),
        "open_anomalies": found.count(tenant(), [anomalies.c.resolved.is_(False)]),
        "models": sum(map(len, group_champions.values())),
        "coverage": {kind: len(names) / len(ids) if ids else None for kind, names in group_champions.items()},
        "measured_on": len(champions),
        "oldest_model_days": max(ages, default=None),
        "stale_models": sum(age > MAX_MODEL_AGE.days for age in ages),
        "quality": summarize_quality(champions),
    }


def _trained(names: list[str], options: JSON, query: JSON, **more: Any) -> Any:
    """Train in one session, and answer with its end or at once."""
    if not names:
        nothing: JSON = {"message": "There are no sensors", "training_session_id": None, "results": []}
        return {"success": True, **nothing}
    if len(names) > max_batch_models():
        raise InvalidContent(
            f"{len(names):,} models are too many for one session, which takes {max_batch_models():,}: "
            "scripts/train_models.py --all-sensors trains them in several, POST /api/auto-train/ in turns"
        )
    patient = should_wait(query)
    outcome = manager().train_batch(
        FAMILY, tenant(), names, options, wait=patient and not has_idempotency_key()
    )
    assert outcome.session is not None
    assign_session(outcome.session.id)
    if not patient:
        body, status, headers = accepted_response(outcome.session)
        return {**body, **more}, status, headers
    return {**_told(wait_for_end(outcome), bool(more)), **more}


def _told(outcome: TrainingOutcome, partly: bool) -> JSON:
    """What became of every model; where nothing could be trained, the first reason is the answer."""
    session = outcome.session
    assert session is not None
    items, ended_well = session.items, session.error is None
    results = [_result(item) for item in _telling(items)]
    if items and not ended_well and not partly:
        raise _failure(items[0])(items[0]["error"], results=results, training_session_id=session.id)
    if not items:
        build_response(outcome)  # raises what the session recorded
    return {
        "success": ended_well,
        "message": session.message,
        "training_session_id": session.id,
        "results": results,
        "results_count": len(items),
    }


def _telling(items: list[JSON]) -> list[JSON]:
    """The items that an answer has room for; where they are too many, those that failed before all others."""
    if len(items) <= MAX_LISTED_MODELS:
        return items
    return sorted(items, key=lambda item: item["state"] != "failed")[:MAX_LISTED_MODELS]


def _first(named: Mapping[str, str]) -> dict[str, str]:
    """As many of them as an answer has room for."""
    return dict(islice(named.items(), MAX_LISTED_MODELS))


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


def _upkeep() -> SensorsMonitor:
    """Upkeep that loads champions for itself and keeps none: a fleet drives out none that is asked."""
    versions = manager().storage.versions
    one_at_a_time = ModelCache(versions, manager().live.resources, capacity=1)
    return SensorsMonitor(database(), versions, tenant(), one_at_a_time.current)


def _cursor(name: str) -> int:
    """Where a model stands in the list, as a number that stays when models come and go."""
    sensor_id, kind = sort_key(name)
    return sensor_id * len(MODEL_KINDS) + sorted(MODEL_KINDS).index(kind)


def _described(model: ChampionInfo) -> JSON:
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
        "stale": model.age > MAX_MODEL_AGE,
    }
