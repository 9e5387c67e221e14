"""How models do in production, and why they were retrained or kept."""

from __future__ import annotations

from datetime import timedelta

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.resource import Document, Query, Resource, model_key
from api.http.schemas import OpenSchema, PageQuery, page, page_schema
from api.models.suggestions import describe_unknown_model
from errors import NoChampion
from storage.db.scheduler_runs import RetrainDecision
from training.monitoring.retraining_policy import LEAVE, TRAIN, WAIT

monitoring = Resource("monitoring", "How models do in production, and what is done about it.")


class DecisionView(OpenSchema):
    """One decision about one model."""

    id = fields.Integer(required=True)
    model = fields.String(required=True, metadata={"example": "rul/pumps"})
    decided_at = fields.DateTime(required=True)
    run_id = fields.String(
        required=True, metadata={"description": "The scheduled run, or command, it belongs to."}
    )
    action = fields.String(required=True, metadata={"enum": [TRAIN, WAIT, LEAVE]})
    reasons = fields.List(fields.String(), required=True)
    training_session_id = fields.Integer(required=True, allow_none=True)
    evidence = fields.Dict(required=True)


class ScheduleView(Schema):
    """When the models are checked."""

    interval_hours = fields.Float(required=True, metadata={"description": "0: never by the server itself."})
    leader = fields.Boolean(required=True, metadata={"description": "Whether a worker runs the schedule."})
    last_run_at = fields.DateTime(required=True, allow_none=True)
    next_run_at = fields.DateTime(required=True, allow_none=True)


class PolicyView(Schema):
    """When models are retrained: the settings in force."""

    min_error_ratio = fields.Float(required=True)
    max_age_days = fields.Float(required=True)
    min_new_data_ratio = fields.Float(required=True)
    psi_threshold = fields.Float(required=True)
    cooldown_hours = fields.Float(required=True)
    max_trainings_per_week = fields.Integer(required=True)
    remaining_trainings = fields.Integer(required=True)


class MonitoringQuery(PageQuery):
    """Pages of decisions by ``cursor``, of models by ``models_cursor``; ``limit`` applies to both."""

    models_cursor = fields.String(
        validate=validate.Length(1, 300),
        metadata={"description": "models.next_cursor of the page before; without it the first models come."},
    )


_DecisionPage = page_schema(DecisionView)


class MonitoringView(OpenSchema):
    """Schedule, policy and decisions."""

    schedule = fields.Nested(ScheduleView, required=True)
    policy = fields.Nested(PolicyView, required=True)
    models = fields.Nested(page_schema(DecisionView, fields.String, name="LatestDecisionPage"), required=True)
    decisions = fields.Nested(_DecisionPage, required=True)


class ModelMonitoringView(OpenSchema):
    """One model as it is now, and the decisions about it."""

    model = fields.String(required=True)
    model_version = fields.Integer(required=True)
    production_performance = fields.Dict(required=True)
    evidence = fields.Dict(required=True)
    decisions = fields.Nested(_DecisionPage, required=True)


@monitoring.operation("/api/monitoring", {200: MonitoringView}, query=MonitoringQuery)
def get_monitoring(query: Query) -> ResponseReturnValue:
    """Return the schedule, the policy, the newest decision about each model, and all decisions, the newest first.

    ---
    Models are in the order of their names and have pages of their own, by `models_cursor`.
    """
    schedule = manager().monitor.schedule_status()
    return {
        "schedule": {
            "interval_hours": schedule.interval_hours,
            "leader": schedule.has_leader,
            "last_run_at": schedule.last_run_at,
            "next_run_at": schedule.next_run_at,
        },
        "policy": _describe_policy(),
        "models": _list_latest(query),
        "decisions": _list_decisions(query),
    }


@monitoring.operation(
    "/api/monitoring/<family:family>/<name>", {200: ModelMonitoringView}, query=PageQuery, errors=(404, 409)
)
def get_model_monitoring(query: Query, family: str, name: str) -> ResponseReturnValue:
    """Measure one model in production, beside what its training promised."""
    key, monitor = model_key(family, name, identity().tenant), manager().monitor
    if manager().models.champion_number(key) is None:
        raise NoChampion(describe_unknown_model(key) or f"{key} has no champion yet", model=str(key))
    report = monitor.report(key)
    evidence = report.to_dict()
    return {
        "model": str(key),
        "model_version": report.version,
        "production_performance": monitor.production_performance(evidence["production"]),
        "evidence": evidence,
        "decisions": _list_decisions(query, family, name),
    }


def _list_latest(query: Query) -> Document:
    """Return one page of models, each with the newest decision about it."""
    limit, after = query["limit"], None
    if "models_cursor" in query:
        family, _, name = query["models_cursor"].replace("\0", "").partition("/")
        after = family, name
    decisions = manager().monitor.decisions.latest(identity().tenant, limit + 1, after)
    results = [_decision_to_dict(decision) for decision in decisions[:limit]]
    return page(results, str(results[-1]["model"]) if len(decisions) > limit else None)


def _list_decisions(query: Query, family: str | None = None, name: str | None = None) -> Document:
    limit = query["limit"]
    decisions = manager().monitor.decisions.list(
        identity().tenant, family, name, limit=limit + 1, cursor=query.get("cursor")
    )
    shown = decisions[:limit]
    return page(list(map(_decision_to_dict, shown)), shown[-1].id if len(decisions) > limit else None)


def _decision_to_dict(decision: RetrainDecision) -> Document:
    return {
        "id": decision.id,
        "model": f"{decision.family}/{decision.name}",
        "decided_at": decision.decided_at,
        "run_id": decision.run_id,
        "action": decision.action,
        "reasons": decision.reasons,
        "training_session_id": decision.session_id,
        "evidence": decision.evidence,
    }


def _describe_policy() -> Document:
    monitor = manager().monitor
    policy = monitor.policy
    return {
        "min_error_ratio": policy.min_error_ratio,
        "max_age_days": policy.max_age / timedelta(days=1),
        "min_new_data_ratio": policy.min_new_data_ratio,
        "psi_threshold": policy.psi_threshold,
        "cooldown_hours": policy.cooldown / timedelta(hours=1),
        "max_trainings_per_week": policy.max_trainings_per_week,
        "remaining_trainings": max(
            0, policy.max_trainings_per_week - monitor.trainings_in_period(identity().tenant)
        ),
    }
