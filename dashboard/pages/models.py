"""Models with their versions side by side, and the way back to an earlier one."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate

from api.http.context import identity, manager
from api.http.resource import Query, model_key
from api.models.models import ModelQuery
from api.models.request_bodies import AcceptRequest
from dashboard.resource import FORM, HTML, REDIRECT, Pages, read_form, see_other
from dashboard.versions import summarize_version
from errors import NotFound

models = Pages("model pages", "Models and their versions, for people.")

PAGE_SIZE = 25
# So many of the newest versions stand side by side.
MAX_VERSIONS = 6


class ModelPageQuery(ModelQuery):
    """Which models to list."""

    limit = fields.Integer(load_default=PAGE_SIZE, validate=validate.Range(1, 100))


@models.operation("/versions", HTML, query=ModelPageQuery)
def list_model_pages(query: Query) -> str:
    """List models with the version that serves."""
    service, limit = manager().models, query["limit"]
    keys = service.keys(identity().tenant, query.get("family"), query.get("cursor", ""), limit + 1)
    numbers, damaged = service.champion_numbers(keys[:limit])
    rows = [
        {
            "key": key,
            "champion": summarize_version(key, number) if number is not None else None,
            "versions": len(service.version_numbers(key)),
            "is_damaged": key in damaged,
        }
        for key in keys[:limit]
        for number in [numbers.get(key)]
    ]
    return render_template(
        "versions/list.html", rows=rows, next_cursor=str(keys[limit - 1]) if len(keys) > limit else None
    )


@models.operation("/versions/<family:family>/<name>", HTML)
def compare_versions(family: str, name: str) -> str:
    """Show the newest versions of a model side by side."""
    key = model_key(family, name, identity().tenant)
    service = manager().models
    numbers = list(reversed(service.version_numbers(key)))
    if not numbers:
        raise NotFound(f"There is no model {key} yet")
    champion = service.champion_numbers([key])[0].get(key)
    shown = numbers[:MAX_VERSIONS]
    if champion is not None and champion not in shown:
        shown.append(champion)
    versions = [summarize_version(key, number) for number in shown]
    names = {name: None for version in versions for name in version.metrics or {}}
    return render_template(
        "versions/model.html",
        key=key,
        champion=champion,
        versions=versions,
        metrics=list(names),
        count=len(numbers),
    )


@models.operation(
    "/versions/<family:family>/<name>/<number:version>/promote",
    REDIRECT,
    method="POST",
    role="admin",
    body=FORM,
)
def promote_on_page(family: str, name: str, version: int) -> ResponseReturnValue:
    """Make a version the champion."""
    key = model_key(family, name, identity().tenant)
    manager().models.promote(key, version, read_form(AcceptRequest)["accepted_by"])
    return see_other(f"/versions/{family}/{name}")
