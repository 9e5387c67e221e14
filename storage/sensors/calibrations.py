"""Calibrations: the true value that a person, or a model, found for a sensor."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storage.db.crud import Row
from storage.db.database import Database
from storage.db.watermark import WatermarkedTable
from storage.sensors.tables import calibrations

SOURCE_MANUAL: Final = "manual"
SOURCE_MODEL: Final = "model"


class Calibrations(WatermarkedTable):
    """The table ``calibrations``; models learn only from rows whose ``source`` is a person."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, calibrations, "calibration")

    def list_manual(self, sensor_id: int, up_to: int | None = None) -> list[Row]:
        """Return the calibrations people made of a sensor, oldest first.

        Parameters
        ----------
        up_to : int, optional
            A watermark; rows with a higher id are left out.
        """
        query = (
            sa.select(calibrations)
            .where(calibrations.c.sensor_id == sensor_id, calibrations.c.source == SOURCE_MANUAL)
            .order_by(calibrations.c.applied_at, calibrations.c.id)
        )
        if up_to is not None:
            query = query.where(calibrations.c.id <= up_to)
        with self.database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]
