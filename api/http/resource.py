"""A route says in one place what it needs, what it reads and what it answers; the rest follows from that.

Security reads a route's manners before the view is reached, and /openapi.json tells them to everybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, NoReturn

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.routing import BaseConverter, Map

from api.http.idempotency import KEY_HEADER, make_idempotent
from api.http.request_body import JSON
from api.http.schemas import error_messages, invalid_content
from errors import InvalidContent, NotFound
from prediction import registry
from prediction.contract import ModelKey

View = Callable[..., Any]
Parameter = Mapping[str, Any]
EVERYWHERE = frozenset({400, 403, 500, 503, 507})
TO_CALLERS = frozenset({401, 429})
TO_CHANGES = frozenset({409, 413, 415, 422})
EITHER_KEY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"apiKey": []}]


@dataclass(frozen=True)
class AccessPolicy:
    """What a request must bring before its view is reached.

    Parameters
    ----------
    role : str or None
        The weakest role that may come in; None lets everybody in.
    accepts : sequence of str
        Content types of the body.
    """

    role: str | None
    accepts: Sequence[str] = (JSON,)


@dataclass(frozen=True)
class Operation:
    """One route of a resource.

    Parameters
    ----------
    rule : str
        The path, in Flask's notation.
    answers : mapping of int to schema or dict of content type to schema
        The successes, by status.
    method, role
        The HTTP method, and the weakest role that may use it (None: everybody).
    query : Schema, optional
        Query parameters, handed to the view as a dict.
    body : mapping, optional
        The OpenAPI request body.
    headers : sequence of mapping
        OpenAPI parameters of the request's headers.
    errors : sequence of int
        Statuses beyond those that every route of this kind can answer.
    repeatable : bool
        False for a route that changes something: it honours Idempotency-Key.
    admits : callable, optional
        Called before anything reads the body: makes room for a large one, or raises what forbids it.
    """

    rule: str
    answers: Mapping[int, Any]
    method: str = "GET"
    role: str | None = "read"
    query: type[Schema] | None = None
    body: Mapping[str, Any] | None = None
    headers: Sequence[Parameter] = ()
    errors: Sequence[int] = ()
    repeatable: bool = True
    admits: Callable[[], None] | None = None

    def error_statuses(self) -> list[int]:
        """Every status of a failure this route may answer."""
        found = {*EVERYWHERE, *self.errors}
        found |= TO_CALLERS if self.role else set()
        found |= TO_CHANGES if self.method != "GET" else set()
        found |= {404} if "<" in self.rule else set()
        found |= {422} if self.query else set()
        return sorted(found)

    def parameters(self) -> list[Parameter]:
        """The headers it reads."""
        return [*self.headers] if self.repeatable else [*self.headers, KEY_HEADER]

    def access_policy(self) -> AccessPolicy:
        """What security has to know of it."""
        return AccessPolicy(self.role, tuple((self.body or {}).get("content", (JSON,))))


class QueryParser(FlaskParser):
    """Query parameters: unknown ones are refused, so that a misspelt one is noticed."""

    def __init__(self) -> None:
        super().__init__(unknown="raise")

    def handle_error(self, error: ValidationError, *args: Any, **kwargs: Any) -> NoReturn:
        said = error_messages(error)
        raise invalid_content("A query parameter cannot be used", said.get("query", said)) from error


class Resource(Blueprint):  # type: ignore[misc]
    """The routes of one resource."""

    ARGUMENTS_PARSER = QueryParser()

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, name, description=description)
        self._prepare_doc_cbks.append(_document_headers)

    def serves(self, rule: str, answers: Mapping[int, Any], **facts: Any) -> Callable[[View], View]:
        """Register a view; the facts are those of a `Route`."""
        route = Operation(rule, answers, **facts)

        def register(view: View) -> View:
            shown = view if route.repeatable else make_idempotent(view)
            if route.admits is not None:
                shown = _admitted(shown, route.admits)
            if route.query is not None:
                shown = self.arguments(route.query(), location="query")(shown)
            shown = self._documented(shown, route)
            shown.__dict__["manners"] = route.access_policy()
            self.add_url_rule(route.rule, view.__name__, shown, methods=[route.method])
            return view

        return register

    def _documented(self, view: View, route: Operation) -> View:
        for status, answer in route.answers.items():
            contents = answer if isinstance(answer, dict) else {JSON: answer}
            for content_type, schema in contents.items():
                view = self.alt_response(status, schema=schema, content_type=content_type, success=True)(view)
            if not contents:
                view = self.alt_response(status, success=True)(view)
        for status in route.error_statuses():
            view = self.alt_response(status, response=HTTPStatus(status).name)(view)
        said: dict[str, Any] = {"security": EITHER_KEY if route.role else []}
        said |= {"x-role": route.role} if route.role else {}
        said |= {"requestBody": route.body} if route.body else {}
        view = self.doc(**said)(view)
        view.__dict__["_apidoc"]["headers"] = route.parameters()
        return view


def _admitted(view: View, admits: Callable[[], None]) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        admits()
        return view(*args, **kwargs)

    return guarded


def _document_headers(doc: dict[str, Any], doc_info: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add a view's header parameters to those of its query; flask-smorest calls it for every view."""
    headers = doc_info.get("headers", [])
    return {**doc, "parameters": [*doc.get("parameters", []), *headers]} if headers else doc


def access_policy_of(view: View | None) -> AccessPolicy | None:
    """The manners a view was registered with; None for a view that is no resource of ours."""
    return getattr(view, "manners", None)


def key_of(family: str, name: str, tenant: str) -> ModelKey:
    """The key of a model named in a path; a name that no model can have is simply not found."""
    try:
        return ModelKey(family, name, tenant)
    except InvalidContent as error:
        raise NotFound(
            "There is no model of that name: names have up to 100 letters (A to Z, no accents), digits, "
            "'_', '-' and '.', and begin with a letter or digit"
        ) from error


class FamilyConverter(BaseConverter):
    """A path segment that names a model family; any other is no address at all."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map)
        self.regex = f"(?:{'|'.join(map(re.escape, sorted(registry.FAMILIES)))})"


class NumberConverter(BaseConverter):
    """A positive whole number in plain digits, small enough for every database and browser."""

    regex = "[1-9][0-9]{0,14}"

    def to_python(self, value: str) -> int:
        return int(value)
