"""API keys. A secret is shown once and stored as a hash."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from errors import InvalidContent, MillwrightError, NotFound
from storage.db.database import Database
from storage.db.tables import api_keys, utc_now
from storage.filesystem.checked_write import write_atomic

ROLES: Final = ("read", "train", "admin")
_PREFIX_LENGTH: Final = 11
# How long a key revoked on another machine, which shares the database but no folder, may still be
# accepted.
_MAX_CACHE_AGE_S: Final = 5.0
# How long known keys are accepted while the database does not answer.
_GRACE_PERIOD_S: Final = 900.0


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret."""

    id: int
    tenant: str
    role: str
    label: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Identity:
    """The tenant and role of the key that came with a request."""

    tenant: str
    role: str
    key_id: int


@dataclass(frozen=True)
class _Cache:
    stamp: tuple[int, int] | None
    loaded_at: float
    identities: dict[str, Identity]
    any_exist: bool


class ApiKeys:
    """The table ``api_keys``.

    Parameters
    ----------
    stamp_file : Path, optional
        A file that every change replaces. With it, the active keys are held in memory and read again when
        the file has changed, so that a request costs one ``stat`` instead of a query.
    """

    def __init__(self, database: Database, stamp_file: Path | None = None) -> None:
        self._database = database
        self._stamp_file = stamp_file
        self._cache: _Cache | None = None

    def create(self, role: str, tenant: str = "default", label: str = "") -> tuple[str, ApiKey]:
        """Create a key.

        Returns
        -------
        tuple of str and ApiKey
            The secret, which cannot be read again, and the key.

        Raises
        ------
        InvalidContent
            There is no such role.
        """
        if role not in ROLES:
            raise InvalidContent(f"Unknown role {role!r}; use one of {', '.join(ROLES)}")
        secret = f"mw_{secrets.token_urlsafe(32)}"
        row = {"tenant": tenant, "role": role, "label": label, "prefix": secret[:_PREFIX_LENGTH]}
        insert = sa.insert(api_keys).values(**row, secret_sha256=_hash(secret), created_at=utc_now())
        with self._database.write() as connection:
            key = connection.execute(insert.returning(*_PUBLIC_COLUMNS)).one()
        self._invalidate()
        return secret, ApiKey(**key._mapping)

    def revoke(self, key_id: int) -> ApiKey:
        """Refuse a key from now on. Revoking it again changes nothing.

        Raises
        ------
        NotFound
            There is no such key.
        """
        is_active = api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)
        with self._database.write() as connection:
            connection.execute(sa.update(api_keys).where(*is_active).values(revoked_at=utc_now()))
            query = sa.select(*_PUBLIC_COLUMNS).where(api_keys.c.id == key_id)
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"There is no API key {key_id}")
        self._invalidate()
        return ApiKey(**row._mapping)

    def authenticate(self, secret: str) -> Identity | None:
        """Return who holds this secret; None where no active key has it."""
        if not (secret.isascii() and secret.isprintable()):
            return None
        # Looking up the hash leaks nothing through timing: a secret cannot be approached by its hash.
        return self._load().identities.get(_hash(secret))

    def find(self, key_id: int) -> Identity | None:
        """Return who holds an active key of this number; None where it is unknown or revoked."""
        identities = self._load().identities.values()
        return next((caller for caller in identities if caller.key_id == key_id), None)

    def any_exist(self) -> bool:
        """Whether there is any key, active or revoked."""
        return self._load().any_exist

    def list(self) -> list[ApiKey]:
        """Return every key, revoked ones too, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*_PUBLIC_COLUMNS).order_by(api_keys.c.id))
            return [ApiKey(**row._mapping) for row in rows]

    def _load(self) -> _Cache:
        stamp, now, cache = self._stamp(), time.monotonic(), self._cache
        if (
            cache is not None
            and self._stamp_file is not None
            and cache.stamp == stamp
            and now - cache.loaded_at < _MAX_CACHE_AGE_S
        ):
            return cache
        try:
            with self._database.read() as connection:
                rows = connection.execute(sa.select(api_keys)).all()
        except MillwrightError:
            # Champions in memory can answer without the database: callers that are known stay known for a while.
            # A revocation replaces the stamp; it is absent where the whole folder was moved away with the database.
            if cache is not None and stamp in (cache.stamp, None) and now - cache.loaded_at < _GRACE_PERIOD_S:
                return cache
            raise
        identities = {
            row.secret_sha256: Identity(row.tenant, row.role, row.id)
            for row in rows
            if row.revoked_at is None
        }
        self._cache = _Cache(stamp, now, identities, bool(rows))
        return self._cache

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._stamp_file.stat() if self._stamp_file is not None else None
        except FileNotFoundError:
            return None
        return status and (status.st_ino, status.st_mtime_ns)

    def _invalidate(self) -> None:
        self._cache = None
        if self._stamp_file is not None:
            with suppress(MillwrightError):  # on a full disk the age of the caches has to do
                write_atomic(self._stamp_file, secrets.token_bytes(8), durable=False)


_PUBLIC_COLUMNS: Final = [column for column in api_keys.c if column.name != "secret_sha256"]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()
