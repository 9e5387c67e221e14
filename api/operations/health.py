"""Whether the process lives, whether it can answer, and how its storage is."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import groupby, islice
from typing import Any

from flask import current_app
from marshmallow import Schema, fields

from api.http.context import manager
from api.http.resource import Resource
from api.http.schemas import OpenSchema
from api.operations.background import BACKGROUND, Background
from api.operations.gauges import MAX_LISTED_MODELS
from errors import MillwrightError, NotReady

Champions = tuple[list[dict[str, Any]], list[str]]
MIN_FREE_BYTES = 50_000_000

health = Resource("health", "Signs of life.")


class Alive(Schema):
    """The process answers."""

    status = fields.String(required=True, metadata={"enum": ["ok"]})


class ChampionView(OpenSchema):
    """A model that answers now."""

    model = fields.String(required=True)
    version = fields.Integer(required=True)


class HealthView(OpenSchema):
    """How the server is."""

    status = fields.String(required=True, metadata={"enum": ["ok", "degraded"]})
    champions = fields.List(
        fields.Nested(ChampionView),
        required=True,
        metadata={"description": f"Of a family with more than {MAX_LISTED_MODELS} the first so many."},
    )
    fleets = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "How many champions such families have; absent where there is none."},
    )
    problems = fields.List(fields.String(), required=True)


@health.serves("/health/live", {200: Alive}, role=None)
def get_live() -> dict[str, Any]:
    """Whether the process answers at all; nothing is read."""
    return {"status": "ok"}


@health.serves("/health/ready", {200: HealthView}, role=None)
def get_ready() -> dict[str, Any]:
    """Whether requests should be sent here.

    ---
    503 while the first training runs, while the server stops, and where the database does not answer.
    """
    background: Background = current_app.extensions[BACKGROUND]
    if background.stopping.is_set():
        raise NotReady("The server is stopping")
    manager().storage.database.ping()
    champions = _champions()
    if not champions[0] and background.first_training_runs():
        error = NotReady("The first training is running; predictions start when it has ended")
        error.code = "first_training"
        raise error
    return _health(champions)


@health.serves("/health", {200: HealthView}, role=None)
def get_health() -> dict[str, Any]:
    """What answers, and what is wrong, if anything."""
    return _health(_champions())


def _health(found: Champions) -> dict[str, Any]:
    champions, damaged = found
    problems = [*damaged, *manager().data_files.problems(), *_problems()]
    return {"status": "degraded" if problems else "ok", **_named(champions), "problems": problems}


def _champions() -> Champions:
    """The champions of the default tenant, and a sentence for each pointer that cannot be read."""
    versions = manager().storage.versions
    numbers, damaged = versions.read_pointers(versions.keys("default/"))
    answering = [(_model(path), number) for path, number in numbers.items() if number is not None]
    return (
        [{"model": model, "version": number} for model, number in answering],
        [f"The live pointer of {_model(path)} is damaged" for path in damaged],
    )


def _named(champions: list[dict[str, Any]]) -> dict[str, Any]:
    """The champions as they are told: of a family with very many the first, and how many there are."""
    counts = Counter(_family(champion) for champion in champions)
    fleets = {family: count for family, count in counts.items() if count > MAX_LISTED_MODELS}
    families = groupby(champions, key=_family)
    some = [champion for _, mine in families for champion in islice(mine, MAX_LISTED_MODELS)]
    return {"champions": some, **({"fleets": fleets} if fleets else {})}


def _family(champion: dict[str, Any]) -> str:
    return str(champion["model"].partition("/")[0])


def _model(path: str) -> str:
    return path.partition("/")[2]


def _problems() -> list[str]:
    """What an operator should look at, in sentences without paths or secrets."""
    problems = []
    free = shutil.disk_usage(manager().storage.settings.home).free
    if free < MIN_FREE_BYTES:
        problems.append(f"Only {free // 1_000_000} MB are free on the disk")
    try:
        manager().storage.database.ping()
    except MillwrightError:
        problems.append("The database does not answer")
    else:
        if any(worker.error for worker in manager().storage.workers.list_live()):
            problems.append("A worker cannot load its models: POST /train/reload tells why")
    return problems
