"""Train sensor models, keep them fresh, and report how good they measurably are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, pre_load, validate

from api.http.context import manager
from api.http.fields import StrictBoolean
from api.http.idempotency import assign_session
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource
from api.http.schemas import OpenSchema, load_document, page
from api.sensors.context import MAX_ID, SensorSchema, get_sensor_row, tenant
from api.training.training_response import AcceptedView, accepted_response, raise_failure
from api.training.waiting import STARTS_A_SESSION, WaitQuery, should_wait, wait_for_end
from errors import InvalidContent, MillwrightError
from prediction.sensors.model_names import FAMILY, MODEL_KINDS, build_model_names, sort_key
from prediction.sensors.monitoring import (
    MAX_MODEL_AGE,
    ChampionInfo,
    SensorsMonitor,
    sample_evenly,
    summarize_quality,
)
from prediction.sensors.options import SensorsOptions
from storage.db.sessions import Session
from storage.sensors.tables import anomalies
from training_manager import MAX_BATCH_MODELS

resource = Resource("sensor training", "Train the models of sensors.")

# A response names so many models one by one, and counts all.
MAX_LISTED_MODELS = 1_000
# The measured quality of so many models of a kind is read, evenly sampled; more are counted.
MAX_EVALUATED_MODELS = 500


_OPTION_NAMES = frozenset(SensorsOptions().fields)


class SensorTrainingRequest(SensorSchema):
    """Which models to train."""

    sensor_id = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, MAX_ID),
        metadata={"description": "All sensors, where it is missing and model_type is all."},
    )
    model_type = fields.String(load_default="all", validate=validate.OneOf((*MODEL_KINDS, "all")))
    options = fields.Dict(
        load_default=dict,
        keys=fields.String(),
        metadata={"description": "Options may also be sent next to the other fields."},
    )

    @pre_load
    def collect_options(self, data: object, **_: object) -> object:
        """Move options that are sent flat, as the other training routes take them, into ``options``."""
        if not isinstance(data, dict) or not isinstance(data.get("options", {}), dict):
            return data
        flat = {name: value for name, value in data.items() if name in _OPTION_NAMES}
        others = {name: value for name, value in data.items() if name not in flat}
        return {**others, "options": {**data.get("options", {}), **flat}}


class AutoTrainRequest(Schema):
    """Whether to train what is due, or only to list it."""

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


class TrainedModelQuery(SensorSchema):
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


def _request_body(schema: type[Schema], required: bool = True) -> Document:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


@resource.operation(
    "/api/model-training/",
    {200: SensorTrainingResultView, 202: AcceptedView},
    query=WaitQuery,
    body=_request_body(SensorTrainingRequest),
    errors=(404,),
    **STARTS_A_SESSION,
)
def train_sensor_models(query: Query) -> ResponseReturnValue:
    """Train one model, the three of a sensor, or those of all sensors, in one session."""
    options = load_document(SensorTrainingRequest, read_json())
    kinds = MODEL_KINDS if options["model_type"] == "all" else (options["model_type"],)
    if options["sensor_id"] is not None:
        ids = [get_sensor_row(options["sensor_id"])["id"]]
    elif options["model_type"] == "all":
        ids = manager().sensors.sensors.list_ids(tenant())
    else:
        raise InvalidContent("Name a sensor_id, or train all models of all sensors with model_type all")
    return _train(build_model_names(ids, kinds), options["options"], query, {})


@resource.operation("/api/model-training/", {200: TrainedModelListView}, query=TrainedModelQuery)
def list_trained_models(query: Query) -> ResponseReturnValue:
    """List the trained models with age, size, metrics and version, and whether they are stale."""
    monitor, limit = _monitor(), query["limit"]
    names = monitor.list_trained_of(query["sensor_id"]) if "sensor_id" in query else monitor.list_trained()
    left = [name for name in names if _cursor(name) > query["cursor"]]
    results = [_model_to_dict(monitor.get_champion(name)) for name in left[:limit]]
    return page(results, _cursor(left[limit - 1]) if len(left) > limit else None)


@resource.operation(
    "/api/auto-train/",
    {200: SensorTrainingResultView, 202: AcceptedView},
    query=WaitQuery,
    body=_request_body(AutoTrainRequest, required=False),
    **STARTS_A_SESSION,
)
def auto_train(query: Query) -> ResponseReturnValue:
    """Train the models that are missing, older than a week, or measurably worse than they promised."""
    options = load_document(AutoTrainRequest, read_json(absent={}))
    plan = _monitor().plan()
    facts: Document = {
        "due": dict(islice(plan.models.items(), MAX_LISTED_MODELS)),
        "due_count": len(plan.models),
        "insufficient_data": dict(islice(plan.insufficient_data.items(), MAX_LISTED_MODELS)),
        "insufficient_data_count": len(plan.insufficient_data),
    }
    if plan.models and not options["dry_run"]:
        return _train(list(plan.models)[:MAX_BATCH_MODELS], {}, query, facts)
    message = f"{len(plan.models)} models are due" if plan.models else "Every model with enough data is fresh"
    return {"success": True, "message": message, "training_session_id": None, "results": [], **facts}


@resource.operation("/api/ml-analytics/", {200: AnalyticsView})
def get_analytics() -> ResponseReturnValue:
    """Return counts, coverage of models, ages, and quality as it was measured on held-out rows.

    ---
    Of a kind with more than 500 models, ages and quality are those of 500, evenly sampled; `measured_on`
    counts the models behind them.
    """
    stores, monitor = manager().sensors, _monitor()
    ids = set(stores.sensors.list_ids(tenant()))
    promoted = monitor.group_champions(ids)
    sample = [name for names in promoted.values() for name in sample_evenly(names, MAX_EVALUATED_MODELS)]
    champions = [model for model in map(monitor.get_champion, sample) if model.manifest is not None]
    ages = [model.age.total_seconds() / 86_400 for model in champions if model.age is not None]
    return {
        "sensors": len(ids),
        "readings": stores.readings.count(tenant()),
        "calibrations": stores.calibrations.count(tenant()),
        "anomalies": stores.anomalies.count(tenant()),
        "open_anomalies": stores.anomalies.count(tenant(), [anomalies.c.resolved.is_(False)]),
        "models": sum(map(len, promoted.values())),
        "coverage": {kind: len(names) / len(ids) if ids else None for kind, names in promoted.items()},
        "measured_on": len(champions),
        "oldest_model_days": max(ages, default=None),
        "stale_models": sum(age > MAX_MODEL_AGE.days for age in ages),
        "quality": summarize_quality(champions),
    }


def _train(names: list[str], options: Document, query: Query, facts: Document) -> ResponseReturnValue:
    """Train models in one session, and respond with its end or at once.

    Parameters
    ----------
    facts : mapping
        Further fields of the response. Where there are any the models were chosen here, and one that cannot be
        trained is a result, not an error of the request.
    """
    if not names:
        return {
            "success": True,
            "message": "There are no sensors",
            "training_session_id": None,
            "results": [],
        }
    if len(names) > MAX_BATCH_MODELS:
        raise InvalidContent(
            f"{len(names):,} models are too many for one session, which takes {MAX_BATCH_MODELS:,}: "
            "scripts/train_models.py --all-sensors trains them in several, POST /api/auto-train/ in turns"
        )
    wait = should_wait(query)
    outcome = manager().train_batch(FAMILY, tenant(), names, options, wait=False)
    # A batch always has a session: its models are named, so there is no "nothing new".
    assert outcome.session is not None
    assign_session(outcome.session.id)
    session = (wait_for_end(outcome) if wait else outcome).session
    assert session is not None
    if not wait or not session.has_ended:
        body, status, headers = accepted_response(session)
        return {**body, **facts}, status, headers
    return {**_describe_results(session, must_succeed=not facts), **facts}


def _describe_results(session: Session, must_succeed: bool) -> Document:
    """Return what became of every model; where none could be trained, the first reason is the error."""
    items, has_succeeded = session.items, session.error is None
    if not items:
        raise_failure(session)
    # Where there is no room for all, failures come first.
    listed = items if len(items) <= MAX_LISTED_MODELS else sorted(items, key=lambda i: i["state"] != "failed")
    results = [_result_to_dict(item) for item in listed[:MAX_LISTED_MODELS]]
    if items and not has_succeeded and must_succeed:
        error = _error_class(items[0].get("code", ""))
        raise error(items[0]["error"], results=results, training_session_id=session.id)
    return {
        "success": has_succeeded,
        "message": session.message,
        "training_session_id": session.id,
        "results": results,
        "results_count": len(items),
    }


def _error_class(code: str) -> type[MillwrightError]:
    """Return the class of a model's error, so that the status is that of a single training."""
    return next((kind for kind in _subclasses(MillwrightError) if kind.code == code), MillwrightError)


def _subclasses(kind: type[MillwrightError]) -> Iterator[type[MillwrightError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _result_to_dict(item: Mapping[str, object]) -> Document:
    return {
        **_split_name(str(item["name"])),
        "trained": item["state"] != "failed",
        "promoted": item["state"] == "completed",
        **{field: item.get(field) for field in ("version", "metrics", "error", "reasons")},
    }


def _split_name(name: str) -> Document:
    sensor_id, kind = name.split("-", 1)
    return {"model": f"{FAMILY}/{name}", "sensor_id": int(sensor_id), "model_type": kind}


def _monitor() -> SensorsMonitor:
    """Return the monitor of this tenant's models."""
    monitor = manager().monitor.family_monitor(FAMILY, tenant())
    assert isinstance(monitor, SensorsMonitor)
    return monitor


def _cursor(name: str) -> int:
    """Return the position of a model in the list, as a number that stays when models come and go."""
    sensor_id, kind = sort_key(name)
    return sensor_id * len(MODEL_KINDS) + sorted(MODEL_KINDS).index(kind)


def _model_to_dict(model: ChampionInfo) -> Document:
    if model.manifest is None or model.age is None:
        return {**_split_name(model.name), "version": None, "stale": True}
    return {
        **_split_name(model.name),
        "version": model.manifest["version"],
        "created_at": model.manifest["created_at"],
        "age_days": model.age.total_seconds() / 86_400,
        "size_bytes": sum(file["size"] for file in model.manifest["files"].values()),
        "metrics": model.manifest["metrics"],
        "stale": model.age > MAX_MODEL_AGE,
    }
