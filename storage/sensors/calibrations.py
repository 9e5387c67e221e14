"""Calibrations: what a person, or a model, found the true value to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from storage.db.crud import Row
from storage.db.database import Database
from storage.db.watermark import WatermarkedTable
from storage.sensors.tables import calibrations

SOURCE_MANUAL = "manual"
SOURCE_MODEL = "model"


class Calibrations(WatermarkedTable):
    """The table ``calibrations``; what a model applied is kept apart by its ``source`` and teaches nobody."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, calibrations, "calibration")

    def list_manual(self, sensor_id: int, up_to: int | None = None) -> list[Row]:
        """The calibrations people made of a sensor, oldest first: the only ones a model learns from."""
        where: list[sa.ColumnElement[bool]] = [
            calibrations.c.sensor_id == sensor_id,
            calibrations.c.source == SOURCE_MANUAL,
        ]
        where += [calibrations.c.id <= up_to] if up_to is not None else []
        order = (calibrations.c.applied_at, calibrations.c.id)
        with self.database.read() as connection:
            rows: Sequence[Any] = connection.execute(
                sa.select(calibrations).where(*where).order_by(*order)
            ).all()
        return [dict(row._mapping) for row in rows]
