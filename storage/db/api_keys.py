"""API keys: shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from errors import InvalidContent, NotFound
from storage.db.database import Database
from storage.db.tables import api_keys, utc_now

ROLES: Final = ("read", "train", "admin")
_PREFIX_LENGTH: Final = 11


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; never the secret itself."""

    id: int
    tenant: str
    role: str
    label: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Identity:
    """Who asks: the tenant and role of the key that came with a request."""

    tenant: str
    role: str
    key_id: int


class ApiKeys:
    """The table ``api_keys``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, role: str, tenant: str = "default", label: str = "") -> tuple[str, ApiKey]:
        """A new key.

        Returns
        -------
        tuple of str and ApiKey
            The secret, which cannot be had again, and its row.

        Raises
        ------
        InvalidContent
            No such role.
        """
        if role not in ROLES:
            raise InvalidContent(f"{role!r} is no role; use one of {', '.join(ROLES)}")
        secret = f"mw_{secrets.token_urlsafe(32)}"
        row = {"tenant": tenant, "role": role, "label": label, "prefix": secret[:_PREFIX_LENGTH]}
        row["secret_sha256"] = _hash(secret)
        with self._database.write() as connection:
            query = sa.insert(api_keys).values(**row, created_at=utc_now()).returning(*_PUBLIC)
            made = connection.execute(query).one()
        return secret, ApiKey(**made._mapping)

    def revoke(self, key_id: int) -> ApiKey:
        """Refuse a key from now on; revoking it again changes nothing.

        Raises
        ------
        NotFound
            No such key.
        """
        unrevoked = api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)
        with self._database.write() as connection:
            connection.execute(sa.update(api_keys).where(*unrevoked).values(revoked_at=utc_now()))
            row = connection.execute(sa.select(*_PUBLIC).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise NotFound(f"There is no API key {key_id}")
        return ApiKey(**row._mapping)

    def authenticate(self, secret: str) -> Identity | None:
        """Who holds this secret; None where nobody does, or nobody any more."""
        mine = api_keys.c.prefix == secret[:_PREFIX_LENGTH], api_keys.c.revoked_at.is_(None)
        if not (secret.isascii() and secret.isprintable()):
            return None
        with self._database.read() as connection:
            rows = connection.execute(sa.select(api_keys).where(*mine)).all()
        given = _hash(secret)
        for row in rows:
            if hmac.compare_digest(given, row.secret_sha256):
                return Identity(row.tenant, row.role, row.id)
        return None

    def list(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*_PUBLIC).order_by(api_keys.c.id))
            return [ApiKey(**row._mapping) for row in rows]


_PUBLIC: Final = [column for column in api_keys.c if column.name != "secret_sha256"]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()
