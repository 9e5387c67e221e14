"""Whether the process lives, whether it can serve, and what needs an operator's attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
from flask import current_app, g
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.resource import Document, Resource
from api.http.schemas import OpenSchema
from api.operations.background import BACKGROUND, Background
from api.operations.tenant_gauges import MAX_LISTED_MODELS
from api.security.guard import GUARD, Guard
from errors import MillwrightError, NotReady
from training.services.data_health import DEFAULT_TENANT

# Below this a training fails for lack of space soon: a version with its downloads is up to 20 MB.
MIN_FREE_BYTES = 50_000_000

UNREADABLE = "A part of the home folder cannot be read: the log says which"

log = structlog.get_logger()

health = Resource("health", "Signs of life.")


class LiveView(Schema):
    """The process answers."""

    status = fields.String(required=True, metadata={"enum": ["ok"]})


class ChampionView(OpenSchema):
    """A model with a champion."""

    model = fields.String(required=True)
    version = fields.Integer(required=True)


class WaitingModelView(Schema):
    """How many records of a model wait in quarantine, and since when."""

    model = fields.String(required=True)
    records = fields.Integer(required=True)
    since = fields.String(required=True, metadata={"description": "UTC", "example": "2026-11-20 20:02:53"})


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
    quarantine = fields.List(
        fields.Nested(WaitingModelView),
        metadata={"description": "Records that wait in quarantine; absent where none do."},
    )


@dataclass
class ChampionOverview:
    """The champions of a tenant."""

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
    tenant = _identify_tenant()
    champions = _get_champions(tenant)
    if not champions.listed and not champions.large_families and background.first_training_runs():
        error = NotReady("The first training is running; predictions start when it has ended")
        error.code = "first_training"
        raise error
    return _describe_health(champions, tenant)


@health.operation("/health", {200: HealthView}, role=None)
def get_health() -> ResponseReturnValue:
    """Return what serves, and what is wrong, if anything.

    ---
    Models, data and backups are those of the key's tenant; without a key those of the tenant `default`.
    """
    tenant = _identify_tenant()
    try:
        champions = _get_champions(tenant)
    except MillwrightError:  # the database is away, which is among the problems
        champions = _get_loaded_champions(tenant)
    return _describe_health(champions, tenant)


def _identify_tenant() -> str:
    """Return the tenant of the caller, where a key says who it is."""
    guard: Guard = current_app.extensions[GUARD]
    guard.identify_optional()
    return identity().tenant if "identity" in g else DEFAULT_TENANT


def _get_champions(tenant: str) -> ChampionOverview:
    """Return the champions; only of small families are the pointer files themselves read."""
    overview = ChampionOverview()
    for family in manager().champions.counts(tenant):
        if family.models <= MAX_LISTED_MODELS:
            keys = manager().models.keys(tenant, family.family)
            numbers, damaged = manager().models.champion_numbers(keys)
            listed = [(str(key), number) for key, number in numbers.items() if number is not None]
            overview.problems += [f"The live pointer of {key} is damaged" for key in damaged]
            overview.problems += [
                f"The champion of {record.family}/{record.name} cannot be read: restore a backup, or promote another"
                for record in manager().champions.page(tenant, family.family)
                if record.error and record.version is not None
            ]
        else:
            records = manager().champions.page(tenant, family.family, limit=MAX_LISTED_MODELS)
            listed = [(f"{r.family}/{r.name}", r.version) for r in records if r.version is not None]
            overview.large_families[family.family] = family.champions
            if family.damaged:
                overview.problems.append(f"{family.damaged} champions of {family.family} cannot be read")
        overview.listed += [{"model": model, "version": version} for model, version in listed]
    return overview


def _get_loaded_champions(tenant: str) -> ChampionOverview:
    """Return the champions in the memory of this worker."""
    cache = manager().model_cache
    loaded = [(key, cache.current(key).number) for key in cache.loaded() if key.tenant == tenant]
    return ChampionOverview([{"model": str(key), "version": number} for key, number in sorted(loaded)])


def _describe_health(champions: ChampionOverview, tenant: str) -> Document:
    data_problems = _collect(
        partial(manager().data_health.problems, tenant), partial(_find_drill_problems, tenant)
    )
    if data_problems and "identity" not in g:
        # These sentences quote the plant's files; anybody may ask for health.
        data_problems = [f"{len(data_problems)} problems of the data and its backups: ask with an API key"]
    limitations = manager().model_cache.limitations(tenant)
    problems = [*champions.problems, *limitations, *data_problems, *_find_system_problems(tenant)]
    waiting: list[Document] = []
    if "identity" in g:  # anybody may ask for health
        with suppress(MillwrightError):  # that the database is away is among the problems
            waiting = [
                {"model": str(model.key), "records": model.records, "since": model.since}
                for model in manager().data_health.all_waiting(tenant)
            ]
    large = {"large_families": champions.large_families} if champions.large_families else {}
    return {
        "status": "degraded" if problems else "ok",
        "champions": champions.listed,
        **large,
        "problems": problems,
        # No problem in itself: a later training has won, and a person decides about the rest.
        **({"quarantine": waiting} if waiting else {}),
    }


def _find_system_problems(tenant: str) -> list[str]:
    """Return what an operator should look at. Everybody may read this: no paths, no secrets."""
    find_in_database = partial(_find_database_problems, tenant)
    return _collect(manager().system.home_issues, _find_alarm_problems, _find_disk_problems, find_in_database)


def _collect(*finders: Callable[[], Sequence[str]]) -> list[str]:
    """Return the problems that each finder names; that it cannot look is a problem, too."""
    problems: list[str] = []
    for find in finders:
        try:
            problems += find()
        except MillwrightError as error:
            log.error("health_not_read", reason=error.message)
            problems.append(UNREADABLE)
    return list(dict.fromkeys(problems))


def _find_drill_problems(tenant: str) -> list[str]:
    issue = manager().restore_drills.issue(tenant)
    return [issue] if issue else []


def _find_alarm_problems() -> list[str]:
    issue = manager().alarms.issue()
    return [issue] if issue else []


def _find_disk_problems() -> list[str]:
    issue = manager().system.journal_issue()
    problems = [issue] if issue else []
    if (free := manager().system.free_bytes()) < MIN_FREE_BYTES:
        problems.append(f"Only {free // 1_000_000} MB are free on the disk")
    return problems


def _find_database_problems(tenant: str) -> list[str]:
    try:
        manager().system.ping_database()
    except MillwrightError:
        return ["The database does not answer"]
    problems = []
    if manager().system.is_read_only():
        problems.append("The disk is full or refuses to write: nothing can be stored until that ends")
    if manager().system.worker_errors(tenant):
        problems.append("A worker cannot load its models: POST /train/reload tells why")
    # The operator of the server watches the health of the default tenant.
    if tenant == DEFAULT_TENANT and (count := manager().champions.count_damaged_of_others(tenant)):
        problems.append(
            f"{count} champions of other tenants cannot be read: GET /health with their keys names them"
        )
    return problems
