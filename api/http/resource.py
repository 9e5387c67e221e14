"""A route states in one place what it needs, what it reads and what it returns.

From that declaration follow the URL rule, the access policy that `api.security.guard` enforces before the view
runs, the parsing of the query, and the entry in /openapi.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypedDict, Unpack, cast

from flask import request
from flask.typing import ResponseReturnValue
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from werkzeug.routing import BaseConverter, Map

from api.http.context import manager
from api.http.idempotency import KEY_HEADER, make_idempotent
from api.http.request_body import JSON_TYPE
from api.http.schemas import invalid_content
from errors import InvalidContent, NotFound
from prediction import registry
from prediction.contract import ModelKey

View = Callable[..., ResponseReturnValue]
# A response body before it is encoded, or a piece of an OpenAPI document.
Document = dict[str, object]
# Query parameters as the schema of their route has read them.
Query = dict[str, Any]

_STATUSES_OF_ALL = frozenset({400, 403, 500, 503, 507})
_STATUSES_OF_AUTHENTICATED = frozenset({401, 422, 429})
_STATUSES_OF_CHANGES = frozenset({409, 413, 415, 422})
_EITHER_KEY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"apiKey": []}]


@dataclass(frozen=True)
class AccessPolicy:
    """What a request must bring before its view is reached.

    Parameters
    ----------
    role : str or None
        The weakest role that is admitted; None admits everybody, without a key.
    content_types : sequence of str
        Content types of the body.
    before_body : callable, optional
        Runs before anything reads the body, the token of a form included.
    accepts_gzip : bool
        Whether the view decompresses a body itself.
    """

    role: str | None
    content_types: Sequence[str] = (JSON_TYPE,)
    before_body: Callable[[], None] | None = None
    accepts_gzip: bool = False


@dataclass(frozen=True)
class Operation:
    """One route of a resource.

    Parameters
    ----------
    rule : str
        The path, in Flask's notation.
    responses : mapping of int to schema or dict of content type to schema
        The successes, by status.
    method, role
        The HTTP method, and the weakest role that may use it (None: everybody).
    query : Schema, optional
        Query parameters, passed to the view as a dict.
    body : mapping, optional
        The OpenAPI request body.
    headers : sequence of mapping
        OpenAPI parameters of the request's headers.
    errors : sequence of int
        Statuses beyond those that every route of this kind can return.
    idempotent : bool
        Whether the route honours Idempotency-Key.
    before_body : callable, optional
        Runs before anything reads the body: makes room for a large one, or raises what forbids it.
    accepts_gzip : bool
        Whether the view decompresses a body itself.
    """

    rule: str
    responses: Mapping[int, object]
    method: str = "GET"
    role: str | None = "read"
    query: type[Schema] | None = None
    body: Mapping[str, object] | None = None
    headers: Sequence[Mapping[str, object]] = ()
    errors: Sequence[int] = ()
    idempotent: bool = False
    before_body: Callable[[], None] | None = None
    accepts_gzip: bool = False

    def error_statuses(self) -> list[int]:
        """Return every status of a failure that this route may return."""
        statuses = {*_STATUSES_OF_ALL, *self.errors}
        statuses |= _STATUSES_OF_AUTHENTICATED if self.role else set()
        statuses |= _STATUSES_OF_CHANGES if self.method != "GET" else set()
        statuses |= {404} if "<" in self.rule else set()
        return sorted(statuses)

    def access_policy(self) -> AccessPolicy:
        """Return what the guard enforces."""
        contents = (self.body or {}).get("content")
        content_types = tuple(contents) if isinstance(contents, Mapping) else (JSON_TYPE,)
        return AccessPolicy(self.role, content_types, self.before_body, self.accepts_gzip)


class OperationOptions(TypedDict, total=False):
    """The fields of an `Operation` that have a default."""

    method: str
    role: str | None
    query: type[Schema] | None
    body: Mapping[str, object] | None
    headers: Sequence[Mapping[str, object]]
    errors: Sequence[int]
    idempotent: bool
    before_body: Callable[[], None] | None
    accepts_gzip: bool


class Resource(Blueprint):  # type: ignore[misc]
    """The routes of one resource."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, name, description=description)
        self._prepare_doc_cbks.append(_document_headers)

    def operation(
        self, rule: str, responses: Mapping[int, object], **options: Unpack[OperationOptions]
    ) -> Callable[[View], View]:
        """Register a view; the options are those of an `Operation`."""
        operation = Operation(rule, responses, **options)

        def register(view: View) -> View:
            handler = _build_handler(view, operation)
            handler.__name__, handler.__doc__ = view.__name__, view.__doc__
            handler.__dict__["access_policy"] = operation.access_policy()
            handler.__dict__["_apidoc"] = self._document(operation, view.__name__)
            self.add_url_rule(rule, view.__name__, handler, methods=[operation.method])
            return view

        return register

    def _document(self, operation: Operation, operation_id: str) -> object:
        """Return the OpenAPI facts of an operation, in flask-smorest's form.

        Its decorators collect them on a function that nothing calls: each one would add a layer to every request.
        """

        def documented() -> None: ...

        stub: Callable[..., object] = documented
        if operation.query is not None:
            stub = self.arguments(operation.query(), location="query")(stub)
        for status, response in operation.responses.items():
            contents = response if isinstance(response, dict) else {JSON_TYPE: response}
            for content_type, schema in contents.items():
                stub = self.alt_response(status, schema=schema, content_type=content_type, success=True)(stub)
            if not contents:
                stub = self.alt_response(status, success=True)(stub)
        for status in operation.error_statuses():
            stub = self.alt_response(status, response=HTTPStatus(status).name)(stub)
        # Generated clients name their methods by it.
        facts: Document = {"operationId": operation_id, "security": _EITHER_KEY if operation.role else []}
        if operation.role:
            facts["x-role"] = operation.role
        if operation.body:
            facts["requestBody"] = operation.body
        apidoc = cast(dict[str, object], self.doc(**facts)(stub).__dict__["_apidoc"])
        apidoc["headers"] = [*operation.headers, *([KEY_HEADER] if operation.idempotent else [])]
        return apidoc


def _build_handler(view: View, operation: Operation) -> View:
    """Return the view behind its query parser, its idempotency and its check before the body, in that order."""
    inner = make_idempotent(view) if operation.idempotent else view
    parse = QueryParser(operation.query or Schema)
    before_body = operation.before_body
    # Predictions and other readers go on with what is in memory.
    is_change = operation.method != "GET" and operation.role in ("train", "admin")

    def handle(**path: object) -> ResponseReturnValue:
        # Probes and browsers add parameters of their own to open addresses; elsewhere an unknown one is a mistake.
        query = parse() if operation.role else {}
        arguments = (query,) if operation.query is not None else ()
        if is_change:
            manager().system.check_home()
        if before_body is not None:
            before_body()
        return inner(*arguments, **path)

    return handle


class QueryParser:
    """Reads query parameters by a schema; unknown ones are refused, so that a misspelt one is noticed."""

    def __init__(self, schema: type[Schema]) -> None:
        self._schema = schema(unknown="raise")
        try:
            self._defaults: Query | None = self._schema.load({})
        except ValidationError:  # a parameter is required
            self._defaults = None

    def __call__(self) -> Query:
        """Return the parameters of this request."""
        # Most requests have no query; for them marshmallow would cost a tenth of a prediction.
        if self._defaults is not None and not request.query_string:
            return dict(self._defaults)
        try:
            return cast(Query, self._schema.load(request.args.to_dict()))
        except ValidationError as error:
            raise invalid_content("A query parameter cannot be used", error, self._schema) from error


def _document_headers(doc: Document, doc_info: Mapping[str, Any], **kwargs: object) -> Document:
    """Add a view's header parameters to those of its query; flask-smorest calls it for every view."""
    headers = doc_info.get("headers", [])
    parameters = cast(list[object], doc.get("parameters", []))
    return {**doc, "parameters": [*parameters, *headers]} if headers else doc


def access_policy_of(view: object) -> AccessPolicy | None:
    """Return the policy that a view was registered with; None for a view that belongs to no `Resource`."""
    return getattr(view, "access_policy", None)


def model_key(family: str, name: str, tenant: str) -> ModelKey:
    """Return the key of a model named in a path; a name that no model can have is not found."""
    name = manager().data_source(family).resolve_name(name, tenant)
    try:
        return ModelKey(family, name, tenant)
    except InvalidContent as error:
        raise NotFound(
            "There is no model of that name: names have up to 100 letters (A to Z, no accents), digits, "
            "'_', '-' and '.', and begin with a letter or digit"
        ) from error


class FamilyConverter(BaseConverter):
    """A path segment that names a model family; any other is no address."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map)
        self.regex = f"(?:{'|'.join(map(re.escape, sorted(registry.FAMILIES)))})"


class NumberConverter(BaseConverter):
    """A positive whole number in plain digits, small enough for every database and browser."""

    regex = "[1-9][0-9]{0,14}"

    def to_python(self, value: str) -> int:
        """Return the number."""
        return int(value)
