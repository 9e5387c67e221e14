"""Answers kept under the Idempotency-Key of their request: sent again, it gets the same and does nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from errors import Conflict, InvalidContent
from storage.db.database import Database
from storage.db.tables import idempotency, utc_now
from storage.filesystem import process_identity

RETENTION: Final = timedelta(hours=24)


@dataclass(frozen=True)
class StoredResponse:
    """What the first request of a key was answered.

    ``status`` is None where the worker died before it could answer: then ``session_id`` names the session
    whose end is the answer.
    """

    status: int | None
    headers: dict[str, str]
    body: bytes
    session_id: int | None = None


class IdempotencyKeyReused(InvalidContent):
    """The key came with another request before."""

    code = "idempotency_key_reused"


class RequestInProgress(Conflict):
    """The first request of this key has not been answered yet."""

    code = "idempotency_key_in_use"


class IdempotencyKeys:
    """The table ``idempotency``: one row a tenant and key, kept for a day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, key: str, tenant: str, route: str, body_sha256: str) -> StoredResponse | None:
        """Claim a key, or find what it was answered.

        Returns
        -------
        StoredAnswer or None
            None where the caller has to do the work, then :meth:`finish` or :meth:`forget`.

        Raises
        ------
        KeyReused
            The key came with another route or body (422).
        StillRunning
            A living worker is at it (409).
        """
        claim = {
            "tenant": tenant,
            "key": key,
            "route": route,
            "body_sha256": body_sha256,
            "owner_pid": os.getpid(),
            "owner_start": process_identity.own_start_time(),
            "created_at": utc_now(),
        }
        self._forget_old()
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(idempotency).values(claim))
        except IntegrityError:
            return self._found(claim)
        return None

    def name_session(self, key: str, tenant: str, session_id: int) -> None:
        """Note which session does the work, so that its end can answer where the worker dies."""
        self._set(key, tenant, session_id=session_id)

    def finish(self, key: str, tenant: str, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep the answer."""
        self._set(key, tenant, status=status, headers=headers, body=body)

    def forget(self, key: str, tenant: str) -> None:
        """Free the key: nothing was done, and the same request may be tried again."""
        with self._database.write() as connection:
            connection.execute(sa.delete(idempotency).where(*_row(key, tenant)))

    def _found(self, claim: dict[str, Any]) -> StoredResponse | None:
        mine = _row(claim["key"], claim["tenant"])
        with self._database.write() as connection:
            row = connection.execute(sa.select(idempotency).where(*mine).with_for_update()).one_or_none()
            if row is None:
                connection.execute(sa.insert(idempotency).values(claim))
                return None
            if (row.route, row.body_sha256) != (claim["route"], claim["body_sha256"]):
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was used for another request. Use a new one."
                )
            if row.status is not None:
                return StoredResponse(row.status, row.headers or {}, row.body or b"", row.session_id)
            if process_identity.is_alive(row.owner_pid, row.owner_start):
                raise RequestInProgress(
                    "The first request with this Idempotency-Key is still being worked on."
                )
            owner = {name: claim[name] for name in ("owner_pid", "owner_start")}
            connection.execute(sa.update(idempotency).where(*mine).values(owner))
        return None if row.session_id is None else StoredResponse(None, {}, b"", row.session_id)

    def _set(self, key: str, tenant: str, **columns: Any) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(idempotency).where(*_row(key, tenant)).values(**columns))

    def _forget_old(self) -> None:
        old = idempotency.c.created_at < utc_now() - RETENTION
        with self._database.read() as connection:
            any_old = connection.execute(sa.select(idempotency.c.key).where(old).limit(1)).first()
        if any_old is not None:
            with self._database.write() as connection:
                connection.execute(sa.delete(idempotency).where(old))


def _row(key: str, tenant: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return idempotency.c.key == key, idempotency.c.tenant == tenant
