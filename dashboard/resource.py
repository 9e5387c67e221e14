"""A `Resource` whose views are pages: errors are pages where a browser asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flask import Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from marshmallow import Schema, fields, pre_load
from werkzeug import Response as BaseResponse
from werkzeug.exceptions import HTTPException

from api.http.errors import error_response, http_error_response, translate_http_error
from api.http.request_body import MULTIPART_TYPE
from api.http.resource import Resource
from api.http.schemas import load_document
from api.security.browser_session import FORM_TYPE
from api.security.guard import SECURITY_HEADERS
from dashboard.application import find_address
from errors import MillwrightError

HTML: Final[Mapping[int, object]] = {200: {"text/html": {"type": "string"}}}
REDIRECT: Final[Mapping[int, object]] = {303: {}}
FIGURE: Final[Mapping[int, object]] = {200: {"application/json": {"type": "object"}}}
# The request body of a form without files.
FORM: Final[Mapping[str, object]] = {"content": {FORM_TYPE: {"schema": {"type": "object"}}}}
# The request body of a form with a file; without one, browsers may send either.
FILE_FORM: Final[Mapping[str, object]] = {
    "content": {
        MULTIPART_TYPE: {"schema": {"type": "object"}},
        FORM_TYPE: {"schema": {"type": "object"}},
    }
}


_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
# plotly.js positions what it draws with inline styles, and keeps its rules in a style element that it makes.
# Scripts stay as strict as elsewhere; its buttons save a chart through a data: image.
_CHART_POLICY: Final = (
    SECURITY_HEADERS["Content-Security-Policy"]
    + "; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:"
)


class Pages(Resource):
    """The pages of one subject."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, description)
        self.register_error_handler(MillwrightError, show_error)
        self.register_error_handler(HTTPException, show_http_error)


def render_charts(template: str, **context: object) -> Response:
    """Render a page that draws charts."""
    response = make_response(render_template(template, **context))
    response.headers["Content-Security-Policy"] = _CHART_POLICY
    return response


def read_form(schema: type[Schema]) -> dict[str, Any]:
    """Return the form of this request as a schema reads it; a field that was left empty is absent.

    Raises
    ------
    InvalidContent
        Everything that is wrong with it, by field.
    """
    texts = {name: text for name, text in request.form.items() if name != "token"}
    return load_document(schema, drop_empty(schema(), texts))


def read_number(text: str) -> str:
    """Return the text of a number field, with a point for its decimal comma where pages are French."""
    text = text.strip()
    is_french = str(get_locale()) == "fr"
    return text.replace(",", ".") if is_french and _DECIMAL_COMMA.fullmatch(text) else text


def show_error(error: MillwrightError, next_address: str | None = None) -> ResponseReturnValue:
    """Return an error as a page where a browser asks, as JSON where a program does.

    Parameters
    ----------
    next_address : str, optional
        Where signing in leads to; by default, to the page that was asked for.
    """
    response: BaseResponse = error_response(error)
    if "text/html" not in request.headers.get("Accept", ""):
        return response
    # Nothing here reads the body: it may be what the error is about.
    template = "sign_in.html" if error.status == 401 else "error.html"
    target = find_address() if next_address is None else next_address
    page = make_response(render_template(template, error=error, next_address=target), error.status)
    if "Retry-After" in response.headers:
        page.headers["Retry-After"] = response.headers["Retry-After"]
    return page


class FormQuery(Schema):
    """A query that a form of a page sends: an empty field is absent, and numbers may have a decimal comma."""

    @pre_load
    def read_texts(self, data: Mapping[str, Any], **options: object) -> dict[str, Any]:
        """Return what stands in the fields."""
        return drop_empty(self, data)


def show_http_error(error: HTTPException) -> ResponseReturnValue:
    """Return what routing and the body's limits refuse as a page where a browser asks."""
    if "text/html" not in request.headers.get("Accept", ""):
        return http_error_response(error)
    return show_error(translate_http_error(error))


def drop_empty(schema: Schema, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a form that have a value: a browser sends an empty text for the others.

    A text may hold two numbers with a comma between them; only in a number field it is a decimal comma.
    """
    filled = {name: text.strip() if isinstance(text, str) else text for name, text in texts.items()}
    numbers = {name for name, field in schema.fields.items() if isinstance(field, fields.Number)}
    return {
        name: read_number(text) if name in numbers and isinstance(text, str) else text
        for name, text in filled.items()
        if text != ""
    }


def see_other(location: str) -> Response:
    """Redirect to a page with GET, so that a reload repeats no form."""
    response = make_response("", 303)
    response.headers["Location"] = location
    return response
