"""Answers about devices, kept until it is known how things went."""

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

MOST_ROWS: Final = 2_000_000
_MOMENT: Final = ("tenant_id", "family", "name", "version", "device_id", "as_of")
_COLUMNS: Final = ("device_id", "as_of", "value", "most", "lower", "upper", "rows_used")
_TYPES: Final = (np.int64, *[np.float64] * 4, np.int64)
_AT_A_TIME: Final = 20_000
"""Millions of rows as Python's numbers would fill the memory of a web worker."""


@dataclass(frozen=True)
class PredictionSource:
    """Whose prediction it is, and which version made it."""

    tenant: str
    family: str
    name: str
    version: int


@dataclass(frozen=True)
class Prediction:
    """One answer about one device.

    Parameters
    ----------
    as_of : int
        The device's last row, in microseconds since 1970.
    value, most : float
        The answer, and the largest one that could have been given, in the family's unit.
    lower, upper : float or None
        Bounds that hold the truth nine times out of ten, where those were asked for.
    rows_used : int
        How many of the device's rows it rests on.
    """

    device_id: str
    as_of: int
    value: float
    most: float
    lower: float | None
    upper: float | None
    rows_used: int


@dataclass(frozen=True)
class StoredPredictions:
    """Predictions of one version in columns, by device and time: arrays of shape (n,)."""

    devices: Sequence[str]
    as_of: NDArray[np.int64]
    value: NDArray[np.float64]
    most: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    rows_used: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.as_of)


class Predictions:
    """The table ``predictions``: one row a version, device and moment, however often it is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, rows: Sequence[tuple[PredictionSource, Prediction]]) -> None:
        """Write predictions in one durable transaction; those that are known already stay as they are."""
        if not rows:
            return
        told = [{**asdict(asker), **asdict(prediction)} for asker, prediction in rows]
        dialect: Any = postgresql if self._database.engine.dialect.name == "postgresql" else sqlite
        unless_known = dialect.insert(predictions).on_conflict_do_nothing(index_elements=_MOMENT)
        with self._database.write() as connection:
            connection.execute(unless_known, told)

    def of(self, asker: PredictionSource) -> StoredPredictions:
        """Everything that one version has said."""
        mine = [predictions.c[name] == value for name, value in asdict(asker).items()]
        columns = [predictions.c[name] for name in _COLUMNS]
        query = sa.select(*columns).where(*mine).order_by(predictions.c.device_id, predictions.c.as_of)
        with self._database.read() as connection:
            found = connection.execute(query, execution_options={"yield_per": _AT_A_TIME})
            batches = [_columns([]), *(_columns(rows) for rows in found.partitions())]
        devices = list(chain.from_iterable(names for names, _ in batches))
        return StoredPredictions(
            devices, *map(np.concatenate, zip(*(numbers for _, numbers in batches), strict=True))
        )

    def forget(self, before: int, most: int = MOST_ROWS) -> int:
        """Delete those about moments before an instant, and all but the newest ``most`` of each tenant.

        Parameters
        ----------
        before : int
            Microseconds since 1970.

        Returns
        -------
        int
            How many were deleted.
        """
        with self._database.read() as connection:
            tenants = connection.execute(sa.select(predictions.c.tenant).distinct()).scalars().all()
        return sum(self._forget(tenant, before, most) for tenant in tenants)

    def _forget(self, tenant: str, before: int, most: int) -> int:
        mine, number = predictions.c.tenant == tenant, predictions.c.id
        last = sa.select(number).where(mine).order_by(number.desc()).offset(most).limit(1).scalar_subquery()
        old = sa.or_(predictions.c.as_of < before, number <= last)
        with self._database.write() as connection:
            return int(connection.execute(sa.delete(predictions).where(mine, old)).rowcount)


def _columns(rows: Sequence[Any]) -> tuple[list[str], list[NDArray[Any]]]:
    """Names of devices, one object each, and the other columns as arrays."""
    names, *numbers = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
    arrays = [np.array(column, dtype=kind) for column, kind in zip(numbers, _TYPES, strict=True)]
    return [sys.intern(name) for name in names], arrays
