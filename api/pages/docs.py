"""The description of this API: /openapi.json built from the routes, and Swagger UI at /docs to read it.

Swagger UI comes from the package flask-swagger-ui; of it only the files are used, since its own page has an
inline script, which the content security policy forbids.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from flask import Flask, Response, current_app, send_from_directory
from flask_smorest import Api

from api.http.errors import ErrorView
from api.http.json_provider import encode_json
from api.http.resource import FamilyConverter, NumberConverter, Resource
from api.pages.static import send_page_file
from api.security.guard import SECURITY_HEADERS
from prediction import registry
from settings import VERSION

SPEC = "millwright.spec"
PAGE = Path(__file__).parent / "docs_page"
SWAGGER_UI = Path(str(files("flask_swagger_ui"))) / "dist"
FILES = {
    **dict.fromkeys(("docs.js", "icon.svg"), PAGE),
    **dict.fromkeys(("swagger-ui.css", "swagger-ui-bundle.js"), SWAGGER_UI),
}
# Swagger UI draws its arrows from data: images in its style sheet. Scripts and styles stay as strict as elsewhere.
_POLICY = SECURITY_HEADERS["Content-Security-Policy"] + "; img-src 'self' data:"
_ABOUT = """A training server for industrial-maintenance models. Errors have one shape everywhere, times are
RFC 3339 in UTC, and every POST that changes something honours `Idempotency-Key`."""

docs = Resource("docs", "What this API is.")


class DescribedApi(Api):  # type: ignore[misc]
    """flask-smorest with this API's shape of errors."""

    ERROR_SCHEMA = ErrorView


def describe(app: Flask) -> DescribedApi:
    """Prepare the application's description, in which resources are registered."""
    app.url_map.converters["family"] = FamilyConverter
    app.url_map.converters["number"] = NumberConverter
    app.config.update(API_TITLE="Millwright", API_VERSION=VERSION, OPENAPI_VERSION="3.1.0")
    api = DescribedApi(app, spec_kwargs={"info": {"description": _ABOUT}})
    api.register_converter(FamilyConverter, _describe_family)
    api.register_converter(NumberConverter, _describe_number)
    components = api.spec.components
    components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    components.security_scheme("apiKey", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    app.extensions[SPEC] = api.spec
    return api


@docs.operation("/openapi.json", {200: {"application/json": {"type": "object"}}}, role=None)
def get_openapi() -> Response:
    """Return every route with everything it takes and returns (OpenAPI 3.1)."""
    return Response(encode_json(current_app.extensions[SPEC].to_dict()), mimetype="application/json")


@docs.operation("/docs", {200: {"text/html": {"type": "string"}}}, role=None)
def get_docs() -> Response:
    """Show this description as a page, with Swagger UI."""
    response = send_from_directory(PAGE, "index.html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@docs.operation("/docs/<file>", {200: {"*/*": {"type": "string"}}}, role=None)
def get_docs_file(file: str) -> Response:
    """Return a file of that page."""
    return send_page_file(FILES, file)


def _describe_family(converter: FamilyConverter) -> dict[str, object]:
    return {"type": "string", "enum": sorted(registry.FAMILIES)}


def _describe_number(converter: NumberConverter) -> dict[str, object]:
    return {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
