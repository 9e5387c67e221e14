"""The API's own description: /openapi.json made from the routes, and /docs that draws it, with no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, redirect, send_from_directory
from flask_smorest import Api
from werkzeug import Response as BaseResponse

from api.http.errors import ErrorView
from api.http.json_provider import encode_json
from api.http.resource import FamilyConverter, NumberConverter, Resource
from errors import NotFound
from prediction import registry
from settings import VERSION

SPEC = "millwright.spec"
PAGE = Path(__file__).parent / "docs_page"
PAGE_FILES = {"docs.js": "text/javascript", "docs.css": "text/css", "icon.svg": "image/svg+xml"}
ABOUT = """A training server for industrial-maintenance models. Errors have one shape everywhere, times are
RFC 3339 in UTC, and every POST that changes something honours `Idempotency-Key`."""

docs = Resource("docs", "What this API is.")


class DescribedApi(Api):  # type: ignore[misc]
    """flask-smorest, with our one shape of errors."""

    ERROR_SCHEMA = ErrorView


def describe(app: Flask) -> DescribedApi:
    """The description that routes are registered in."""
    app.url_map.converters["family"] = FamilyConverter
    app.url_map.converters["number"] = NumberConverter
    app.config.update(API_TITLE="Millwright", API_VERSION=VERSION, OPENAPI_VERSION="3.1.0")
    api = DescribedApi(app, spec_kwargs={"info": {"description": ABOUT}})
    api.register_converter(FamilyConverter, _family_parameter)
    api.register_converter(NumberConverter, _number_parameter)
    schemes = api.spec.components
    schemes.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    schemes.security_scheme("apiKey", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    app.extensions[SPEC] = api.spec
    return api


@docs.serves("/openapi.json", {200: {"application/json": {"type": "object"}}}, role=None)
def get_openapi() -> Response:
    """Every route with everything it takes and answers (OpenAPI 3.1)."""
    return Response(encode_json(current_app.extensions[SPEC].to_dict()), mimetype="application/json")


@docs.serves("/", {302: {}}, role=None)
def get_root() -> BaseResponse:
    """The way to this description's page."""
    return redirect("/docs")


@docs.serves("/docs", {200: {"text/html": {"type": "string"}}}, role=None)
def get_docs() -> Response:
    """Return this API description as a page."""
    return send_from_directory(PAGE, "index.html")


@docs.serves("/docs/<file>", {200: {"*/*": {"type": "string"}}}, role=None)
def get_docs_file(file: str) -> Response:
    """A part of that page."""
    if file not in PAGE_FILES:
        raise NotFound("There is no such part of the page")
    return send_from_directory(PAGE, file, mimetype=PAGE_FILES[file])


def _family_parameter(converter: FamilyConverter) -> dict[str, Any]:
    return {"type": "string", "enum": sorted(registry.FAMILIES)}


def _number_parameter(converter: NumberConverter) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
