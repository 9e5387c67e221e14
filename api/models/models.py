"""Models: what exists, which version serves, and the files that people download."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from flask import Response, send_file
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource, model_key
from api.http.schemas import Confirmation, OpenSchema, PageQuery, load_document, page, page_schema
from api.models.request_bodies import ACCEPT_BODY, AcceptRequest
from api.models.severe_cases import SaferAnswerView
from api.models.suggestions import describe_unknown_model
from errors import ArtefactCorrupt, NoChampion, NotFound
from prediction import registry
from prediction.contract import ModelKey
from prediction.severe_cases import describe_unknown, to_records

models = Resource("models", "Models, their versions and their files.")
_DAMAGED = "Its live pointer is damaged: restore a backup, or promote a version"
_REPORT_FORMATS = {"report": "html", "report.html": "html", "report.pdf": "pdf"}
_FILE = {"application/octet-stream": {"type": "string", "format": "binary"}}


class ModelView(OpenSchema):
    """One model."""

    model = fields.String(required=True, metadata={"example": "scoring/default"})
    family = fields.String(required=True)
    name = fields.String(required=True)
    champion = fields.Integer(required=True, allow_none=True)
    versions = fields.Integer(required=True)
    metrics = fields.Dict(required=True, allow_none=True)
    error = fields.String(metadata={"description": "Why it has no champion that can be read"})


class ModelQuery(Schema):
    """Which models of the caller's tenant to list."""

    family = fields.String(validate=validate.OneOf(sorted(registry.FAMILIES)))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))
    cursor = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "next_cursor of the page before."}
    )


class VersionView(OpenSchema):
    """One version with its manifest."""

    model = fields.String(required=True)
    version = fields.Integer(required=True)
    champion = fields.Boolean(required=True)
    manifest = fields.Dict(required=True)


class PromotionView(Confirmation):
    """A version that was made the champion."""

    model = fields.String()
    version = fields.Integer()
    previous_version = fields.Integer(allow_none=True)
    backup_location = fields.String()
    safer_answers = fields.List(
        fields.Nested(SaferAnswerView),
        allow_none=True,
        metadata={
            "description": "Locked severe cases with lower scores than before, which accepted_by accepts; null where "
            "that cannot be told."
        },
    )
    warnings = fields.List(fields.String(), metadata={"description": "What cannot be told."})


@models.operation("/models", {200: page_schema(ModelView, fields.String)}, query=ModelQuery)
def list_models(query: Query) -> ResponseReturnValue:
    """List the models that have a version, in order of their names."""
    service, limit = manager().models, query["limit"]
    keys = service.keys(identity().tenant, query.get("family"), query.get("cursor", ""), limit + 1)
    numbers, damaged = service.champion_numbers(keys[:limit])
    shown = {key: _model_to_dict(key, number) for key, number in numbers.items()}
    # One damaged pointer does not hide the others.
    shown |= {key: {**_model_to_dict(key, None), "error": _DAMAGED} for key in damaged}
    results = [shown[key] for key in sorted(shown, key=attrgetter("path"))]
    return page(results, str(keys[limit - 1]) if len(keys) > limit else None)


@models.operation("/models/<family:family>/<name>", {200: ModelView})
def get_model(family: str, name: str) -> ResponseReturnValue:
    """Return one model."""
    key = _existing_key(family, name)
    return _model_to_dict(key, manager().models.champion_number(key))


@models.operation("/models/<family:family>/<name>/versions", {200: page_schema(VersionView)}, query=PageQuery)
def list_versions(query: Query, family: str, name: str) -> ResponseReturnValue:
    """List the versions of a model, the newest first."""
    key, limit = _existing_key(family, name), query["limit"]
    newest_first = reversed(manager().models.version_numbers(key))
    numbers = [number for number in newest_first if number < query.get("cursor", number + 1)]
    champion = manager().models.champion_number(key)
    results = [
        _version_to_dict(key, number, champion, _read_manifest(key, number)) for number in numbers[:limit]
    ]
    return page(results, numbers[limit - 1] if len(numbers) > limit else None)


@models.operation("/models/<family:family>/<name>/versions/<number:version>", {200: VersionView})
def get_version(family: str, name: str, version: int) -> ResponseReturnValue:
    """Return one version with its manifest."""
    key, service = _existing_key(family, name), manager().models
    manifest = service.version(key, version).manifest
    return _version_to_dict(key, version, service.champion_number(key), manifest)


@models.operation(
    "/models/<family:family>/<name>/versions/<number:version>/files/<path:file>",
    {200: _FILE},
    errors=(409, 501),
)
def get_file(family: str, name: str, version: int, file: str) -> Response:
    """Return a file of a version."""
    return _send_model_file(_existing_key(family, name), version, file)


@models.operation(
    "/models/<family:family>/<name>/champion/files/<path:file>", {200: _FILE}, errors=(409, 501)
)
def get_champion_file(family: str, name: str, file: str) -> Response:
    """Return a file of the version that serves now, at an address that stays."""
    key = _existing_key(family, name)
    number = manager().models.champion_number(key)
    if number is None:
        raise NoChampion(describe_unknown_model(key) or f"{key} has no champion yet", model=str(key))
    return _send_model_file(key, number, file)


@models.operation(
    "/models/<family:family>/<name>/versions/<number:version>/promote",
    {200: PromotionView},
    method="POST",
    role="admin",
    body=ACCEPT_BODY,
    errors=(409,),
    idempotent=True,
)
def promote_version(family: str, name: str, version: int) -> ResponseReturnValue:
    """Make a version the champion.

    ---
    409 with `safer_answers` where it gives locked severe cases lower scores than the serving version: `accepted_by` is
    the person who accepts that. It is kept in the version's manifest.
    """
    accepted_by = load_document(AcceptRequest, read_json(absent={}))["accepted_by"]
    promotion = manager().models.promote(_existing_key(family, name), version, accepted_by)
    return {
        "success": True,
        "message": f"{promotion.key} version {version} answers now",
        "model": str(promotion.key),
        "version": promotion.version,
        "previous_version": promotion.previous_version,
        "backup_location": promotion.backup,
        "safer_answers": to_records(promotion.safer_answers),
        "warnings": [describe_unknown(promotion.key)] if promotion.safer_answers is None else [],
    }


def _existing_key(family: str, name: str) -> ModelKey:
    """Return the key of a model that exists, for this caller's tenant."""
    key = model_key(family, name, identity().tenant)
    if not manager().models.exists(key):
        raise NotFound(f"There is no model {key} yet")
    return key


def _model_to_dict(key: ModelKey, champion: int | None) -> Document:
    manifest = _read_manifest(key, champion) if champion is not None else {}
    return {
        "model": str(key),
        "family": key.family,
        "name": key.name,
        "champion": champion,
        "versions": len(manager().models.version_numbers(key)),
        "metrics": manifest.get("metrics"),
    }


def _version_to_dict(
    key: ModelKey, number: int, champion: int | None, manifest: Mapping[str, object]
) -> Document:
    return {
        "model": str(key),
        "version": number,
        "champion": number == champion,
        "manifest": manifest,
    }


def _read_manifest(key: ModelKey, number: int) -> Mapping[str, object]:
    """Return a manifest for a list; a damaged one does not hide the others."""
    try:
        return manager().models.version(key, number).manifest
    except (ArtefactCorrupt, NotFound) as error:
        return {"error": error.message}


def _send_model_file(key: ModelKey, number: int, name: str) -> Response:
    """Send a file that the manifest names, that the family writes on demand, or the session's report."""
    if report_format := _REPORT_FORMATS.get(name):
        path = manager().reports.of_version(manager().models.version(key, number), report_format)
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
