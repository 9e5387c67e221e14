"""What is known of serving models, and why they were trained again or left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.resource import Resource, key_of
from api.http.schemas import OpenSchema, PageQuery
from api.models.suggestions import describe_unknown_model
from errors import NoChampion
from storage.db.scheduler_runs import RetrainDecision, SchedulerRuns
from storage.sensors.readings import from_microseconds
from training.monitoring.retraining_policy import LEAVE, PERIOD, TRAIN, WAIT
from training.monitoring.scheduler import leader_lock, tick_of

monitoring = Resource("monitoring", "How models do where they serve, and what is done about it.")


class DecisionView(OpenSchema):
    """One decision about one model."""

    id = fields.Integer(required=True)
    model = fields.String(required=True, metadata={"example": "rul/pumps"})
    decided_at = fields.DateTime(required=True)
    look = fields.String(required=True, metadata={"description": "The tick, or command, it belongs to."})
    action = fields.String(required=True, metadata={"enum": [TRAIN, WAIT, LEAVE]})
    reasons = fields.List(fields.String(), required=True)
    training_session_id = fields.Integer(required=True, allow_none=True)
    evidence = fields.Dict(required=True)


class ScheduleView(Schema):
    """When the models are looked at."""

    every_hours = fields.Float(required=True, metadata={"description": "0: never by the server itself."})
    leader = fields.Boolean(required=True, metadata={"description": "A worker looks after the models."})
    last_look = fields.DateTime(required=True, allow_none=True)
    next_look = fields.DateTime(required=True, allow_none=True)


class PolicyView(Schema):
    """When models are trained again: the settings in force."""

    below = fields.Float(required=True)
    max_age_days = fields.Float(required=True)
    growth = fields.Float(required=True)
    shift = fields.Float(required=True)
    cooldown_hours = fields.Float(required=True)
    budget = fields.Integer(required=True)
    budget_left = fields.Integer(required=True)


class MonitoringQuery(PageQuery):
    """Pages of decisions by ``cursor``, of models by ``models_cursor``; ``limit`` holds for both."""

    models_cursor = fields.String(
        validate=validate.Length(1, 300),
        metadata={"description": "next_models_cursor of the page before; without it the first models come."},
    )


class Monitoring(OpenSchema):
    """Schedule, rules and decisions."""

    schedule = fields.Nested(ScheduleView, required=True)
    policy = fields.Nested(PolicyView, required=True)
    models = fields.List(fields.Nested(DecisionView), required=True)
    next_models_cursor = fields.String(required=True, allow_none=True)
    decisions = fields.List(fields.Nested(DecisionView), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.Integer(required=True, allow_none=True)


class ModelMonitoring(OpenSchema):
    """One model as it is now, and the decisions about it."""

    model = fields.String(required=True)
    model_version = fields.Integer(required=True)
    production_performance = fields.Dict(required=True)
    evidence = fields.Dict(required=True)
    decisions = fields.List(fields.Nested(DecisionView), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.Integer(required=True, allow_none=True)


@monitoring.serves("/api/monitoring", {200: Monitoring}, query=MonitoringQuery)
def get_monitoring(query: dict[str, Any]) -> dict[str, Any]:
    """The schedule, the rules, the newest decision about each model, and all decisions, the newest first.

    ---
    Models stand in the order of their names and have pages of their own, by `models_cursor`.
    """
    return {"schedule": _schedule(), "policy": _policy(), **_models(query), **_page(query)}


@monitoring.serves(
    "/api/monitoring/<family:family>/<name>", {200: ModelMonitoring}, query=PageQuery, errors=(404, 409)
)
def get_model_monitoring(query: dict[str, Any], family: str, name: str) -> dict[str, Any]:
    """What is measured of one model where it serves, beside what was promised; measured afresh."""
    key, watch = key_of(family, name, identity().tenant), manager().watch
    if manager().storage.versions.pointer(key.path) is None:
        raise NoChampion(describe_unknown_model(key) or f"{key} has no champion yet", model=str(key))
    evidence = watch.report(key)
    told = evidence.to_dict()
    return {
        "model": str(key),
        "model_version": evidence.version,
        "production_performance": watch.production_performance(told["production"]),
        "evidence": told,
        **_page(query, family, name),
    }


def _models(query: dict[str, Any]) -> dict[str, Any]:
    """One page of models, each with the newest decision about it."""
    limit, after = query["limit"], None
    if "models_cursor" in query:
        family, _, name = query["models_cursor"].replace("\0", "").partition("/")
        after = family, name
    found = manager().watch.decisions.latest(identity().tenant, limit + 1, after)
    page = [_shown(one) for one in found[:limit]]
    return {"models": page, "next_models_cursor": page[-1]["model"] if len(found) > limit else None}


def _page(query: dict[str, Any], family: str | None = None, name: str | None = None) -> dict[str, Any]:
    limit = query["limit"]
    found = manager().watch.decisions.list(
        identity().tenant, family, name, limit=limit + 1, cursor=query.get("cursor")
    )
    page = found[:limit]
    return {
        "decisions": [_shown(one) for one in page],
        "count": len(page),
        "next_cursor": page[-1].id if len(found) > limit else None,
    }


def _shown(decision: RetrainDecision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "model": f"{decision.family}/{decision.name}",
        "decided_at": decision.decided_at,
        "look": decision.run_id,
        "action": decision.action,
        "reasons": decision.reasons,
        "training_session_id": decision.session_id,
        "evidence": decision.evidence,
    }


def _schedule() -> dict[str, Any]:
    storage, watch = manager().storage, manager().watch
    hours, last = storage.settings.monitoring_interval_hours, SchedulerRuns(storage.database).last()
    period = timedelta(hours=hours)
    return {
        "every_hours": hours,
        "leader": leader_lock(storage.settings.run_dir).is_held(),
        "last_look": last and last.started_at,
        "next_look": from_microseconds(tick_of(watch.clock(), period)) + period if hours else None,
    }


def _policy() -> dict[str, Any]:
    watch = manager().watch
    policy = watch.policy
    spent = watch.decisions.count_trainings(identity().tenant, since=watch.clock() - PERIOD)
    return {
        "below": policy.min_error_ratio,
        "max_age_days": policy.max_age / timedelta(days=1),
        "growth": policy.min_new_data_ratio,
        "shift": policy.psi_threshold,
        "cooldown_hours": policy.cooldown / timedelta(hours=1),
        "budget": policy.max_trainings_per_week,
        "budget_left": max(0, policy.max_trainings_per_week - spent),
    }
