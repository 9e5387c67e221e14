"""Predictions about devices, stored until their outcome is known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from storage.db.database import Database
from storage.devices.tables import predictions

MAX_ROWS_PER_TENANT: Final = 2_000_000
_UNIQUE: Final = ("tenant_id", "family", "name", "version", "device_id", "as_of")
_COLUMNS: Final = ("device_id", "as_of", "value", "max_value", "lower", "upper", "rows_used")
_DTYPES: Final = (np.int64, *[np.float64] * 4, np.int64)
# Millions of rows as Python numbers would fill the memory of a web worker, so they become arrays in batches.
_BATCH_SIZE: Final = 20_000


@dataclass(frozen=True)
class PredictionSource:
    """The version that made a prediction, and its tenant."""

    tenant: str
    family: str
    name: str
    version: int


@dataclass(frozen=True)
class Prediction:
    """One prediction about one device.

    Parameters
    ----------
    as_of : int
        The device's last row, in microseconds since 1970.
    value, max_value : float
        The prediction, and the largest one that the model can make, in the family's unit.
    lower, upper : float or None
        A 90 % interval, if one was asked for.
    rows_used : int
        Number of the device's rows that the prediction is based on.
    """

    device_id: str
    as_of: int
    value: float
    max_value: float
    lower: float | None
    upper: float | None
    rows_used: int


@dataclass(frozen=True)
class StoredPredictions:
    """Predictions of one version in columns, ordered by device and time: arrays of shape (n,)."""

    devices: Sequence[str]
    as_of: NDArray[np.int64]
    value: NDArray[np.float64]
    max_value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    rows_used: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.as_of)


class Predictions:
    """The table ``predictions``: one row for each version, device and moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[tuple[PredictionSource, Prediction]]) -> None:
        """Insert predictions in one durable transaction; existing ones stay unchanged."""
        if not rows:
            return
        values = [{**asdict(source), **asdict(prediction)} for source, prediction in rows]
        dialect: Any = postgresql if self._database.engine.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(predictions).on_conflict_do_nothing(index_elements=_UNIQUE)
        with self._database.write() as connection:
            connection.execute(statement, values)

    def read(self, source: PredictionSource) -> StoredPredictions:
        """Return every prediction of one version."""
        where = [predictions.c[name] == value for name, value in asdict(source).items()]
        columns = [predictions.c[name] for name in _COLUMNS]
        query = sa.select(*columns).where(*where).order_by(predictions.c.device_id, predictions.c.as_of)
        with self._database.read() as connection:
            result = connection.execute(query, execution_options={"yield_per": _BATCH_SIZE})
            batches = [_to_arrays([]), *(_to_arrays(rows) for rows in result.partitions())]
        devices = list(chain.from_iterable(names for names, _ in batches))
        columns_of_batches = zip(*(arrays for _, arrays in batches), strict=True)
        return StoredPredictions(devices, *map(np.concatenate, columns_of_batches))

    def delete_old(self, before: int, max_rows: int = MAX_ROWS_PER_TENANT) -> int:
        """Delete predictions about moments before an instant, and all but the newest of each tenant.

        Parameters
        ----------
        before : int
            Microseconds since 1970.
        max_rows : int
            Number of rows that a tenant keeps.

        Returns
        -------
        int
            Number of deleted rows.
        """
        with self._database.read() as connection:
            tenants = connection.execute(sa.select(predictions.c.tenant).distinct()).scalars().all()
        deleted, row_id = 0, predictions.c.id
        for tenant in tenants:
            own = predictions.c.tenant == tenant
            newest = sa.select(row_id).where(own).order_by(row_id.desc())
            last_surplus = newest.offset(max_rows).limit(1).scalar_subquery()
            old = sa.or_(predictions.c.as_of < before, row_id <= last_surplus)
            # A transaction for each tenant, so that no writer waits for the whole clean-up.
            with self._database.write() as connection:
                deleted += int(connection.execute(sa.delete(predictions).where(own, old)).rowcount)
        return deleted


def _to_arrays(rows: Sequence[Any]) -> tuple[list[str], list[NDArray[Any]]]:
    """Return the names of devices and the other columns as arrays."""
    names, *numbers = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
    arrays = [np.array(column, dtype=dtype) for column, dtype in zip(numbers, _DTYPES, strict=True)]
    # Names repeat in millions of rows: interning keeps one object for each device.
    return [sys.intern(name) for name in names], arrays
