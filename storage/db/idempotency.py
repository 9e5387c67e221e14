"""Responses stored under the Idempotency-Key of their request: a repeated request gets the same response."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from errors import Conflict, InvalidContent
from storage.db.database import Database
from storage.db.tables import idempotency, utc_now
from storage.filesystem.presence import is_alive
from storage.filesystem.process_token import own_token

RETENTION: Final = timedelta(hours=24)


@dataclass(frozen=True)
class StoredResponse:
    """The response to the first request of a key.

    ``status`` is None where the worker died before it could respond: then ``session_id`` names the session
    whose end is the response.
    """

    status: int | None
    headers: dict[str, str]
    body: bytes
    session_id: int | None = None


class IdempotencyKeyReused(InvalidContent):
    """The key came with another request before."""

    code = "idempotency_key_reused"


class RequestInProgress(Conflict):
    """The first request of this key has no response yet."""

    code = "idempotency_key_in_use"


class IdempotencyKeys:
    """The table ``idempotency``: one row per tenant and key, kept for a day."""

    def __init__(self, database: Database, run_dir: Path) -> None:
        self._database = database
        self._run_dir = run_dir

    def begin(self, key: str, tenant: str, route: str, body_sha256: str) -> StoredResponse | None:
        """Claim a key, or return the response to its first request.

        Returns
        -------
        StoredResponse or None
            None where the caller has to do the work, then call :meth:`finish` or :meth:`forget`.

        Raises
        ------
        IdempotencyKeyReused
            The key came with another route or body (422).
        RequestInProgress
            A living worker is working on it (409).
        """
        owner = {"owner": own_token()}
        request = {"route": route, "body_sha256": body_sha256}
        claim = {"tenant": tenant, "key": key, **request, **owner, "created_at": utc_now()}
        self._delete_old()
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(idempotency).values(claim))
            return None
        except IntegrityError:
            pass  # the key is known
        is_key = _is_key(key, tenant)
        with self._database.write() as connection:
            row = connection.execute(sa.select(idempotency).where(*is_key).with_for_update()).one_or_none()
            if row is None:  # forgotten since the insert above
                connection.execute(sa.insert(idempotency).values(claim))
                return None
            if (row.route, row.body_sha256) != (route, body_sha256):
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was used for another request. Use a new one."
                )
            if row.status is not None:
                return StoredResponse(row.status, row.headers or {}, row.body or b"", row.session_id)
            if row.owner is not None and is_alive(self._run_dir, row.owner):
                raise RequestInProgress(
                    "The first request with this Idempotency-Key is still being worked on."
                )
            connection.execute(sa.update(idempotency).where(*is_key).values(owner))
        return None if row.session_id is None else StoredResponse(None, {}, b"", row.session_id)

    def name_session(self, key: str, tenant: str, session_id: int) -> None:
        """Record which session does the work, so that its end can be the response if the worker dies."""
        self._update(key, tenant, {"session_id": session_id})

    def finish(self, key: str, tenant: str, status: int, headers: dict[str, str], body: bytes) -> None:
        """Store the response."""
        self._update(key, tenant, {"status": status, "headers": headers, "body": body})

    def forget(self, key: str, tenant: str) -> None:
        """Free the key: nothing was done, and the same request may be tried again."""
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency).where(*_is_key(key, tenant)))

    def _update(self, key: str, tenant: str, values: dict[str, object]) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(idempotency).where(*_is_key(key, tenant)).values(values))

    def _delete_old(self) -> None:
        is_old = idempotency.c.created_at < utc_now() - RETENTION
        # Most requests find nothing to delete: a read does not wait for the write lock.
        with self._database.read() as connection:
            if connection.execute(sa.select(idempotency.c.key).where(is_old).limit(1)).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency).where(is_old))


def _is_key(key: str, tenant: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return idempotency.c.key == key, idempotency.c.tenant == tenant
