"""``Idempotency-Key``: a POST that is sent twice is carried out once and gets the same response twice."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import cast

import structlog
from flask import Flask, Response, current_app, g, make_response, request
from flask.typing import ResponseReturnValue

from api.http.context import identity, manager
from api.http.errors import error_response
from api.http.request_body import hash_body
from errors import MalformedBody, MillwrightError
from storage.db.sessions import Session

log = structlog.get_logger()

SessionResponse = Callable[[Session], ResponseReturnValue]

KEY_HEADER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "A second request with the same key and body gets the stored response of the first.",
}
_SESSION_RESPONSE = "millwright.session_response"
_STORED_HEADERS = ("Content-Type", "Location", "Preference-Applied", "X-Model-Version")
_KEY = re.compile("[!-~]{1,255}", re.ASCII)


class KeyUpdates:
    """Updates of key rows; what the database refuses is tried again later, in order.

    A row that is neither finished nor freed would stay in use for as long as this worker lives.
    """

    def __init__(self) -> None:
        self._pending: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def apply(self, update: Callable[[], None]) -> None:
        """Run an update, now or later."""
        self._pending.append(update)
        self.retry()

    def retry(self) -> None:
        """Run the updates that are pending; stop at the first that the database refuses."""
        with self._lock:
            while self._pending:
                try:
                    self._pending[0]()
                except MillwrightError as error:
                    log.warning("idempotency_key_not_updated", reason=error.message)
                    return
                self._pending.popleft()


KEY_UPDATES = KeyUpdates()


def install(app: Flask, session_response: SessionResponse) -> None:
    """Tell the application how to respond with the state of a session that a dead worker had started."""
    app.extensions[_SESSION_RESPONSE] = session_response


def make_idempotent(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Return the view with support for the header."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            raise MalformedBody("Idempotency-Key must be 1 to 255 visible ASCII characters")
        return _run_once(key, lambda: view(*args, **kwargs))

    return guarded


def assign_session(session_id: int) -> None:
    """Record which session does the work of this request's key, if it has one."""
    if "idempotency_key" in g:
        store, key, tenant = manager().idempotency, g.idempotency_key, identity().tenant
        KEY_UPDATES.apply(lambda: store.name_session(key, tenant, session_id))


def _run_once(key: str, work: Callable[[], ResponseReturnValue]) -> Response:
    tenant = identity().tenant
    address = f"{request.method} {request.path.rstrip('/')}?{request.query_string.decode(errors='replace')}"
    KEY_UPDATES.retry()
    stored = manager().idempotency.begin(key, tenant, address[:300], hash_body())
    if stored is None:
        g.idempotency_key = key
        return _run_and_store(key, tenant, work)
    if stored.status is not None:
        response = Response(stored.body, stored.status, stored.headers)
    else:
        # The worker that had the key died; the session it had named tells how the work ended.
        session_id = stored.session_id or 0
        build = cast(SessionResponse, current_app.extensions[_SESSION_RESPONSE])
        response = _run_and_store(key, tenant, lambda: build(manager().sessions.get(session_id, tenant)))
    response.headers["Idempotent-Replay"] = "true"
    return response


def _run_and_store(key: str, tenant: str, work: Callable[[], ResponseReturnValue]) -> Response:
    """Do the work and store its response under the key, or free the key where a retry may end better."""
    store, response = manager().idempotency, None
    try:
        try:
            response = make_response(work())
        except MillwrightError as error:
            response = error_response(error)
    finally:
        # A busy server may do better next time; a success or an invalid request is final.
        if response is not None and (200 <= response.status_code < 300 or response.status_code == 422):
            headers = {name: response.headers[name] for name in _STORED_HEADERS if name in response.headers}
            status, body = response.status_code, response.get_data()
            KEY_UPDATES.apply(lambda: store.finish(key, tenant, status, headers, body))
        else:
            KEY_UPDATES.apply(lambda: store.forget(key, tenant))
    return response
