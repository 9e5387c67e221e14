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
from storage.devices.device_alarms import observe_devices
from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.tables import predictions

MAX_ROWS_PER_TENANT: Final = 2_000_000
_UNIQUE: Final = ("tenant_id", "family", "name", "version", "device_id", "as_of")
_COLUMNS: Final = ("device_id", "as_of", "value", "max_value", "lower", "upper", "rows_used")
_DTYPES: Final = (np.int64, *[np.float64] * 4, np.int64)
# Millions of rows as Python numbers would fill the memory of a web worker, so they become arrays in batches.
_BATCH_SIZE: Final = 20_000


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


class PredictionStore:
    """The table ``predictions``: one row for each version, device and moment.

    Parameters
    ----------
    alarm_value : float
        A device with a smaller prediction raises an alarm; 0 for no alarms.
    """

    def __init__(self, database: Database, alarm_value: float = 0.0) -> None:
        self._database = database
        self._alarm_value = alarm_value

    def add(self, rows: Sequence[tuple[PredictionSource, Prediction]]) -> None:
        """Insert predictions, and the alarms that they raise, in one transaction; existing ones stay unchanged."""
        if not rows:
            return
        values = [{**asdict(source), **asdict(prediction)} for source, prediction in rows]
        dialect: Any = postgresql if self._database.engine.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(predictions).on_conflict_do_nothing(index_elements=_UNIQUE)
        with self._database.write() as connection:
            connection.execute(statement, values)
            if self._alarm_value:
                observe_devices(connection, rows, self._alarm_value)

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

    def of_device(
        self, tenant: str, family: str, name: str, device_id: str, limit: int
    ) -> list[tuple[int, float]]:
        """Return the newest predictions of a model's versions about one device: time and value, oldest first."""
        table = predictions.c
        query = sa.select(table.as_of, table.value).where(
            table.tenant == tenant, table.family == family, table.name == name, table.device_id == device_id
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.as_of.desc(), table.version.desc()).limit(limit))
            return [(int(row[0]), float(row[1])) for row in rows][::-1]

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


def _to_arrays(rows: Sequence[object]) -> tuple[list[str], list[NDArray[Any]]]:
    """Return the names of devices and the other columns as arrays."""
    names, *numbers = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
    arrays = [np.array(column, dtype=dtype) for column, dtype in zip(numbers, _DTYPES, strict=True)]
    # Names repeat in millions of rows: interning keeps one object for each device.
    return [sys.intern(name) for name in names], arrays
