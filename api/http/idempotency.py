"""``Idempotency-Key``: a POST that is sent twice is done once, and answered twice with the same answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, g, make_response, request

from api.http.context import identity, manager
from api.http.errors import error_response
from api.http.request_body import hash_body
from api.training.training_response import session_response
from errors import MalformedBody, MillwrightError
from storage.db.idempotency import StoredResponse

KEY_HEADER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "The same key with the same body is done once and answered again from the record.",
}
KEPT_HEADERS = ("Content-Type", "Location", "Preference-Applied", "X-Model-Version")
_KEY = re.compile("[!-~]{1,255}", re.ASCII)


def make_idempotent(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a view that changes something honour the header."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            raise MalformedBody("Idempotency-Key must be 1 to 255 visible ASCII characters")
        return _done_once(key, lambda: view(*args, **kwargs))

    return guarded


def has_idempotency_key() -> bool:
    """Whether this request is done under a key."""
    return "idempotency_key" in g


def assign_session(session_id: int) -> None:
    """Note which session does the work of this request's key, if it has one."""
    if has_idempotency_key():
        manager().storage.idempotency.name_session(g.idempotency_key, identity().tenant, session_id)


def _done_once(key: str, work: Callable[[], Any]) -> Response:
    store, tenant = manager().storage.idempotency, identity().tenant
    address = f"{request.method} {request.path.rstrip('/')}?{request.query_string.decode(errors='replace')}"
    stored = store.begin(key, tenant, address[:300], hash_body())
    if stored is None:
        g.idempotency_key = key
        return _kept(key, tenant, work)
    if stored.status is not None:
        return _marked(Response(stored.body, stored.status, stored.headers))
    return _marked(_kept(key, tenant, lambda: _end_of(stored)))


def _kept(key: str, tenant: str, work: Callable[[], Any]) -> Response:
    """Do the work and keep its answer under the key, or free the key where another try may end better."""
    store, response = manager().storage.idempotency, None
    try:
        response = _answered(work)
    finally:
        if response is not None and _is_final(response.status_code):
            kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
            store.finish(key, tenant, response.status_code, kept, response.get_data())
        else:
            store.forget(key, tenant)
    return response


def _answered(work: Callable[[], Any]) -> Response:
    try:
        return make_response(work())
    except MillwrightError as error:
        return error_response(error)


def _is_final(status: int) -> bool:
    """Whether the same request would be answered so again; a busy server may do better next time."""
    return 200 <= status < 300 or status == 422


def _end_of(stored: StoredResponse) -> Any:
    """What a worker that died could not answer: the end of the session it had named."""
    return session_response(manager().sessions.get(stored.session_id or 0, identity().tenant))


def _marked(response: Response) -> Response:
    response.headers["Idempotent-Replay"] = "true"
    return response
