"""Predictions with their inputs, so that each can be reproduced with the version of then."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from errors import ArtefactCorrupt, NotFound
from storage.db.database import Database
from storage.db.tables import kept_predictions as table
from storage.models.manifest import Manifest

# Most of the size is text that repeats; higher levels took four times as long for a tenth less.
_COMPRESSION: Final = 1
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
# Requests with a NUL character are refused, so that no name in an input is ever read as one of these.
_ARRAY: Final = "\0array"
_TIME: Final = "\0time"
_SUMMARY: Final = ("id", "family", "name", "version", "created_at", "count", "inputs_sha256")


@dataclass(frozen=True)
class KeptPrediction:
    """One request's predictions.

    Parameters
    ----------
    id : str
        32 hexadecimal digits that sort by time.
    version_sha256 : str
        Hash of the version's files: a number may be given again after a restore.
    count : int
        Number of inputs.
    inputs : bytes
        The inputs with the options of the request, encoded and compressed.
    answers : bytes
    """

    id: str
    tenant: str
    family: str
    name: str
    version: int
    version_sha256: str
    created_at: datetime
    count: int
    inputs_sha256: str
    inputs: bytes
    answers: bytes

    def read(self) -> tuple[bytes, bytes]:
        """Return the encoded inputs and answers.

        Raises
        ------
        ArtefactCorrupt
            They are not what was stored.
        """
        try:
            inputs, answers = zlib.decompress(self.inputs), zlib.decompress(self.answers)
        except zlib.error:
            inputs = answers = b""
        if hashlib.sha256(inputs).hexdigest() != self.inputs_sha256:
            raise ArtefactCorrupt(
                f"The kept prediction {self.id} is damaged in the database, so it cannot be reproduced"
            )
        return inputs, answers


@dataclass(frozen=True)
class PredictionSummary:
    """A kept prediction in a list."""

    id: str
    family: str
    name: str
    version: int
    created_at: datetime
    count: int
    inputs_sha256: str


class KeptPredictions:
    """The table ``kept_predictions``: one row for each request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[KeptPrediction]) -> None:
        """Insert rows in one durable transaction."""
        if rows:
            with self._database.write() as connection:
                connection.execute(sa.insert(table), [asdict(row) for row in rows])

    def get(self, tenant: str, prediction_id: str) -> KeptPrediction:
        """Return a prediction; NotFound where the tenant has none of that id."""
        row = None
        if _ID.fullmatch(prediction_id):  # PostgreSQL refuses some other texts
            query = sa.select(table).where(table.c.tenant == tenant, table.c.id == prediction_id)
            with self._database.read() as connection:
                row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(
                "There is no kept prediction of that id: GET /predictions lists them, and those older "
                "than the retention are deleted"
            )
        return KeptPrediction(**row._mapping)

    def page(self, tenant: str, limit: int, before: str | None = None) -> list[PredictionSummary]:
        """Return predictions, the newest first, those before an id."""
        query = sa.select(*(table.c[name] for name in _SUMMARY)).where(table.c.tenant == tenant)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
            return [PredictionSummary(**row._mapping) for row in rows]

    def list_of_version(self, path: str, version_sha256: str, limit: int) -> list[KeptPrediction]:
        """Return the newest predictions of one version of the model with this path."""
        tenant, family, name = path.split("/")
        same = table.c.family == family, table.c.name == name, table.c.version_sha256 == version_sha256
        query = sa.select(table).where(table.c.tenant == tenant, *same)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
            return [KeptPrediction(**row._mapping) for row in rows]

    def delete_old(self, before: datetime, max_rows: int) -> int:
        """Delete predictions made before an instant, and all but the newest of each tenant.

        Returns
        -------
        int
            Number of deleted rows.
        """
        with self._database.read() as connection:
            tenants = connection.execute(sa.select(table.c.tenant).distinct()).scalars().all()
        deleted = 0
        for tenant in tenants:
            own = table.c.tenant == tenant
            newest = sa.select(table.c.id).where(own).order_by(table.c.id.desc())
            last_surplus = newest.offset(max_rows).limit(1).scalar_subquery()
            old = sa.or_(table.c.created_at < before, table.c.id <= last_surplus)
            with self._database.write() as connection:
                deleted += int(connection.execute(sa.delete(table).where(own, old)).rowcount)
        return deleted


def encode_exactly(value: object) -> bytes:
    """Return JSON from which `decode` rebuilds the same value: arrays, times and NaN included."""
    return json.dumps(value, default=_encode_value, separators=(",", ":")).encode()


def decode(data: bytes) -> Any:
    """Return the value of `encode_exactly`."""
    return json.loads(data, object_hook=_decode_object)


def compress(data: bytes) -> bytes:
    """Return the stored form of encoded inputs or answers."""
    return zlib.compress(data, _COMPRESSION)


def hash_files(manifest: Manifest) -> str:
    """Return a hash of the names and contents of a version's files."""
    return hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()


def _encode_value(value: object) -> object:
    if isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {_ARRAY: [value.dtype.str, list(value.shape), content]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    raise TypeError(f"{type(value).__name__} has no stored form")


def _decode_object(item: dict[str, Any]) -> Any:
    if item.keys() == {_ARRAY}:
        dtype, shape, content = item[_ARRAY]
        return np.frombuffer(base64.b64decode(content), dtype=np.dtype(dtype)).reshape(shape).copy()
    if item.keys() == {_TIME}:
        return datetime.fromisoformat(item[_TIME])
    return item
