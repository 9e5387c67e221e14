"""Whether the process lives, whether it can serve, and what needs an operator's attention."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app, g
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import manager
from api.http.resource import Document, Resource
from api.http.schemas import OpenSchema
from api.operations.background import BACKGROUND, Background
from api.operations.tenant_gauges import MAX_LISTED_MODELS
from api.security.guard import GUARD, Guard
from errors import MillwrightError, NotReady

TENANT = "default"
# Below this a training fails for lack of space soon: a version with its downloads is up to 20 MB.
MIN_FREE_BYTES = 50_000_000

health = Resource("health", "Signs of life.")


class LiveView(Schema):
    """The process answers."""

    status = fields.String(required=True, metadata={"enum": ["ok"]})


class ChampionView(OpenSchema):
    """A model with a champion."""

    model = fields.String(required=True)
    version = fields.Integer(required=True)


class HealthView(OpenSchema):
    """The state of the server."""

    status = fields.String(required=True, metadata={"enum": ["ok", "degraded"]})
    champions = fields.List(
        fields.Nested(ChampionView),
        required=True,
        metadata={"description": f"Of a family with more than {MAX_LISTED_MODELS} models the first so many."},
    )
    large_families = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "How many champions such families have; absent where there is none."},
    )
    problems = fields.List(fields.String(), required=True)


@dataclass
class ChampionOverview:
    """The champions of the default tenant."""

    listed: list[Document] = field(default_factory=list)
    large_families: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@health.operation("/health/live", {200: LiveView}, role=None)
def get_live() -> ResponseReturnValue:
    """Return whether the process answers at all; nothing is read."""
    return {"status": "ok"}


@health.operation("/health/ready", {200: HealthView}, role=None)
def get_ready() -> ResponseReturnValue:
    """Return whether requests should be sent here.

    ---
    503 while the first training runs, while the server stops, and where the database does not answer.
    """
    background: Background = current_app.extensions[BACKGROUND]
    if background.stopping.is_set():
        raise NotReady("The server is stopping")
    manager().system.ping_database()
    champions = _get_champions()
    if not champions.listed and not champions.large_families and background.first_training_runs():
        error = NotReady("The first training is running; predictions start when it has ended")
        error.code = "first_training"
        raise error
    return _describe_health(champions)


@health.operation("/health", {200: HealthView}, role=None)
def get_health() -> ResponseReturnValue:
    """Return what serves, and what is wrong, if anything."""
    return _describe_health(_get_champions())


def _get_champions() -> ChampionOverview:
    """Return the champions; only of small families are the pointer files themselves read."""
    overview = ChampionOverview()
    for family in manager().champions.counts(TENANT):
        if family.models <= MAX_LISTED_MODELS:
            keys = manager().models.keys(TENANT, family.family)
            numbers, damaged = manager().models.champion_numbers(keys)
            listed = [(str(key), number) for key, number in numbers.items() if number is not None]
            overview.problems += [f"The live pointer of {key} is damaged" for key in damaged]
            overview.problems += [
                f"The champion of {record.family}/{record.name} cannot be read: restore a backup, or promote another"
                for record in manager().champions.page(TENANT, family.family)
                if record.error and record.version is not None
            ]
        else:
            records = manager().champions.page(TENANT, family.family, limit=MAX_LISTED_MODELS)
            listed = [(f"{r.family}/{r.name}", r.version) for r in records if r.version is not None]
            overview.large_families[family.family] = family.champions
            if family.damaged:
                overview.problems.append(f"{family.damaged} champions of {family.family} cannot be read")
        overview.listed += [{"model": model, "version": version} for model, version in listed]
    return overview


def _describe_health(champions: ChampionOverview) -> Document:
    data_problems = manager().data_health.problems()
    guard: Guard = current_app.extensions[GUARD]
    guard.identify_optional()
    if data_problems and "identity" not in g:
        # These sentences quote the plant's files; anybody may ask for health.
        data_problems = [f"{len(data_problems)} problems of the training data: ask with an API key"]
    problems = [*champions.problems, *data_problems, *_system_problems()]
    large = {"large_families": champions.large_families} if champions.large_families else {}
    return {
        "status": "degraded" if problems else "ok",
        "champions": champions.listed,
        **large,
        "problems": problems,
    }


def _system_problems() -> list[str]:
    """Return what an operator should look at. Everybody may read this: no paths, no secrets."""
    problems = []
    free = manager().system.free_bytes()
    if free < MIN_FREE_BYTES:
        problems.append(f"Only {free // 1_000_000} MB are free on the disk")
    issue = manager().system.journal_issue()
    if issue:
        problems.append(issue)
    try:
        manager().system.ping_database()
    except MillwrightError:
        return [*problems, "The database does not answer"]
    if manager().system.worker_errors():
        problems.append("A worker cannot load its models: POST /train/reload tells why")
    return problems
