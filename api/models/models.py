"""Models: what there is, which version answers, and the files people download."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from flask import Response, send_file
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.resource import Resource, key_of
from api.http.schemas import Confirmation, OpenSchema, PageQuery
from api.models.suggestions import describe_unknown_model
from errors import ArtefactCorrupt, NoChampion, NotFound
from prediction import registry
from prediction.contract import ModelKey
from storage.models.versions import ModelVersion

models = Resource("models", "Models, their versions and their files.")
DAMAGED = "Its live pointer is damaged: restore a backup, or promote a version"
REPORTS = {"report": "html", "report.html": "html", "report.pdf": "pdf"}
FILE = {"application/octet-stream": {"type": "string", "format": "binary"}}


class ModelView(OpenSchema):
    """One model."""

    model = fields.String(required=True, metadata={"example": "scoring/default"})
    family = fields.String(required=True)
    name = fields.String(required=True)
    champion = fields.Integer(required=True, allow_none=True)
    versions = fields.Integer(required=True)
    metrics = fields.Dict(required=True, allow_none=True)
    problem = fields.String(metadata={"description": "Why it has no champion that can be read"})


class ModelQuery(Schema):
    """Which models of the caller's tenant to list."""

    family = fields.String(validate=validate.OneOf(sorted(registry.FAMILIES)))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))
    cursor = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "next_cursor of the page before."}
    )


class ModelList(Schema):
    """A page of models."""

    models = fields.List(fields.Nested(ModelView), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class VersionView(OpenSchema):
    """One version, as its manifest tells it."""

    model = fields.String(required=True)
    version = fields.Integer(required=True)
    champion = fields.Boolean(required=True)
    manifest = fields.Dict(required=True)


class VersionList(Schema):
    """A page of versions, the newest first."""

    versions = fields.List(fields.Nested(VersionView), required=True)
    count = fields.Integer(required=True)
    next_cursor = fields.Integer(required=True, allow_none=True)


@models.serves("/models", {200: ModelList}, query=ModelQuery)
def list_models(query: dict[str, Any]) -> dict[str, Any]:
    """The models that have a version, in order of their names."""
    mine, store, limit = f"{identity().tenant}/", manager().storage.versions, query["limit"]
    below = f"{mine}{query['family']}/" if "family" in query else mine
    page = store.keys(below, f"{mine}{query['cursor']}" if "cursor" in query else "", limit + 1)
    shown = _models_shown(page[:limit])
    return {
        "models": shown,
        "count": len(shown),
        "next_cursor": shown[-1]["model"] if len(page) > limit else None,
    }


@models.serves("/models/<family:family>/<name>", {200: ModelView})
def get_model(family: str, name: str) -> dict[str, Any]:
    """One model."""
    key = _key(family, name)
    return _shown(key, manager().storage.versions.pointer(key.path))


@models.serves("/models/<family:family>/<name>/versions", {200: VersionList}, query=PageQuery)
def list_versions(query: dict[str, Any], family: str, name: str) -> dict[str, Any]:
    """The versions of a model, the newest first."""
    key, store, limit = _key(family, name), manager().storage.versions, query["limit"]
    numbers = [n for n in reversed(store.numbers(key.path)) if n < query.get("cursor", n + 1)]
    champion = store.pointer(key.path)
    page = [_version_shown(key, _readable(key, number), champion) for number in numbers[:limit]]
    return {
        "versions": page,
        "count": len(page),
        "next_cursor": numbers[limit - 1] if len(numbers) > limit else None,
    }


@models.serves("/models/<family:family>/<name>/versions/<number:version>", {200: VersionView})
def get_version(family: str, name: str, version: int) -> dict[str, Any]:
    """One version with its manifest."""
    key, store = _key(family, name), manager().storage.versions
    return _version_shown(key, store.get(key.path, version), store.pointer(key.path))


@models.serves(
    "/models/<family:family>/<name>/versions/<number:version>/files/<path:file>",
    {200: FILE},
    errors=(409, 501),
)
def get_file(family: str, name: str, version: int, file: str) -> Response:
    """A file of a version."""
    return _sent(_key(family, name), version, file)


@models.serves("/models/<family:family>/<name>/champion/files/<path:file>", {200: FILE}, errors=(409, 501))
def get_champion_file(family: str, name: str, file: str) -> Response:
    """A file of the version that answers now: a stable address."""
    key = _key(family, name)
    number = manager().storage.versions.pointer(key.path)
    if number is None:
        raise NoChampion(describe_unknown_model(key) or f"{key} has no champion yet", model=str(key))
    return _sent(key, number, file)


@models.serves(
    "/models/<family:family>/<name>/versions/<number:version>/promote",
    {200: Confirmation},
    method="POST",
    role="admin",
    repeatable=False,
)
def promote_version(family: str, name: str, version: int) -> dict[str, Any]:
    """Make an earlier version the champion."""
    promotion = manager().models.promote(_key(family, name), version)
    return {
        "success": True,
        "message": f"{family}/{name} version {version} answers now",
        "model": str(promotion.key),
        "version": promotion.version,
        "previous_version": promotion.previous_version,
        "backup_location": promotion.backup,
    }


def _key(family: str, name: str) -> ModelKey:
    """The key of a model that exists, for this caller's tenant."""
    key = key_of(family, name, identity().tenant)
    if not manager().storage.versions.numbers(key.path):
        raise NotFound(f"There is no model {key} yet")
    return key


def _models_shown(paths: list[str]) -> list[dict[str, Any]]:
    """The models of a list: one damaged pointer does not hide the others."""
    numbers, damaged = manager().storage.versions.read_pointers(paths)
    shown = [_shown(_key_of(path), number) for path, number in numbers.items()]
    shown += [_shown(_key_of(path), None) | {"problem": DAMAGED} for path in damaged]
    return sorted(shown, key=itemgetter("model"))


def _key_of(path: str) -> ModelKey:
    tenant, family, name = path.split("/")
    return ModelKey(family, name, tenant)


def _shown(key: ModelKey, champion: int | None) -> dict[str, Any]:
    store = manager().storage.versions
    version = _readable(key, champion) if champion is not None else None
    return {
        "model": str(key),
        "family": key.family,
        "name": key.name,
        "champion": champion,
        "versions": len(store.numbers(key.path)),
        "metrics": version.manifest.get("metrics") if version else None,
    }


def _readable(key: ModelKey, number: int) -> ModelVersion:
    """A version for a list: one damaged manifest does not hide the others."""
    store = manager().storage.versions
    try:
        return store.get(key.path, number)
    except (ArtefactCorrupt, NotFound) as error:
        return ModelVersion(key.path, number, store.folder(key.path, number), {"problem": error.message})


def _version_shown(key: ModelKey, version: ModelVersion, champion: int | None) -> dict[str, Any]:
    return {
        "model": str(key),
        "version": version.number,
        "champion": version.number == champion,
        "manifest": version.manifest,
    }


def _sent(key: ModelKey, number: int, name: str) -> Response:
    """A file found by its name in the manifest, or made on demand: by its family, or the session's report."""
    if form := REPORTS.get(name):
        path = manager().reports.of_version(manager().storage.versions.get(key.path, number), form)
    else:
        path = manager().downloads.file(key, number, name)
    response = send_file(
        path,
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=path.name,
        max_age=0,
    )
    response.headers["X-Model-Version"] = str(number)
    return response
