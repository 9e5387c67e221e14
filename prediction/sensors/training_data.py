"""Stored rows become a split by time: the past to learn from, the latest part to be judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from errors import NotEnoughData
from prediction.contract import JSON, PreparedData, Resources
from prediction.sensors.anomaly import training
from prediction.sensors.calibration import correction
from prediction.sensors.calibration.correction import CalibrationPairs
from prediction.sensors.drift import forecasting
from prediction.sensors.readings.series import SensorSeries
from prediction.splits import SplitCertificate
from storage.db.database import Database
from storage.sensors.baseline import Baseline, make_baseline
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings, StoredReadings
from storage.sensors.sensors import Sensors

MAX_READINGS = 500_000
"""Of one sensor, the latest: what a model learns from, so that memory does not grow with the years."""
JUDGED_ON = 0.2
JUDGED_ON_CALIBRATIONS = 0.3
_FIRST = 10


@dataclass(frozen=True)
class TrainingData:
    """What one model learns from and is judged on.

    Parameters
    ----------
    kind : str
        ``anomaly``, ``drift`` or ``calibration``.
    rows : Series or Pairs
        Everything, in order of time.
    first : int
        Position of the first held-out row.
    base : Baseline or None
        What a drift is measured from.
    """

    kind: str
    rows: Any
    first: int
    base: Baseline | None = None

    @property
    def past(self) -> Any:
        """The rows before the held-out part."""
        return self.rows.part(slice(0, self.first))

    @property
    def held_out(self) -> Any:
        """The latest rows."""
        return self.rows.part(slice(self.first, None))


@dataclass(frozen=True, kw_only=True)
class PreparedSensorData(PreparedData):
    """The rows of one sensor model with their certificate."""

    training_data: TrainingData


def prepare(source: JSON, resources: Resources) -> PreparedSensorData:
    """Read one model's rows.

    Raises
    ------
    NotEnoughData
        Fewer rows than this kind of model needs; the message names the minimum.
    NotFound
        The sensor has gone.
    """
    database = open_database(source, resources)
    sensor, stored = _read(source, database, resources)
    return build_prepared(source, sensor, stored, _calibrations(source, database))


def _read(source: JSON, database: Database, resources: Resources) -> tuple[JSON, StoredReadings]:
    """A sensor and its readings; a fleet asks for those of one sensor several times in a row."""
    last: JSON = resources.get_or_create("last sensor read", dict)
    asked = tuple(source[name] for name in ("database", "tenant", "sensor_id", "readings_up_to"))
    if last.get("asked") != asked:
        sensor = Sensors(database).get(source["tenant"], source["sensor_id"])
        mark = source["readings_up_to"]
        stored = Readings(database).series(source["sensor_id"], up_to=mark, latest=MAX_READINGS)
        last.update(asked=asked, read=(sensor, stored))
    found: tuple[JSON, StoredReadings] = last["read"]
    return found


def open_database(source: JSON, resources: Resources) -> Database:
    """The child's own connection, shared by all models it trains."""
    url, run_dir = source["database"], Path(source["run_dir"])
    database: Database = resources.get_or_create(f"database {url}", lambda: Database(url, run_dir))
    return database


def build_prepared(
    source: JSON, sensor: JSON, stored: StoredReadings, calibrations: Sequence[JSON]
) -> PreparedSensorData:
    """One model's rows, split and certified."""
    kind, series = source["kind"], to_series(stored)
    if kind == "calibration":
        material = _of_calibrations(series, calibrations)
    else:
        material = _of_readings(kind, series.outside(source["left_out"]), sensor)
    count, first = len(material.rows), material.first
    unit = "calibration" if kind == "calibration" else "reading"
    certificate = SplitCertificate(unit, "time", train=[(0, first - 1)], test=[(first, count - 1)])
    facts = {
        "kind": kind,
        "sensor_id": sensor["id"],
        "sensor_name": sensor["name"],
        "unit": sensor["unit"],
        "readings": len(series),
        "left_out": len(series) - count if kind != "calibration" else 0,
        "readings_up_to": int(stored.ids.max(initial=0)),
        "first": _said(material.rows.times[0]),
        "last": _said(material.rows.times[-1]),
        "last_time": float(material.rows.times[-1]),
    }
    return PreparedSensorData(
        training_data=material,
        certificate=certificate,
        fingerprint=material.rows.fingerprint(),
        rows=count,
        facts=facts,
    )


def _said(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds")


def to_series(stored: StoredReadings) -> SensorSeries:
    """Readings with their instants in seconds."""
    return SensorSeries(stored.ids, stored.times / 1e6, stored.values)


def _calibrations(source: JSON, database: Database) -> list[JSON]:
    if source["kind"] != "calibration":
        return []
    return Calibrations(database).list_manual(source["sensor_id"], up_to=source["calibrations_up_to"])


def _of_readings(kind: str, series: SensorSeries, sensor: JSON) -> TrainingData:
    fewest = training.MIN_READINGS if kind == "anomaly" else forecasting.MIN_READINGS
    if len(series) < fewest:
        raise NotEnoughData(f"Not enough data: {len(series)} readings, at least {fewest} needed")
    first = len(series) - max(1, round(JUDGED_ON * len(series)))
    value = sensor["baseline"] if sensor["baseline"] is not None else float(series.values[:_FIRST].mean())
    return TrainingData(kind, series, first, make_baseline(value, sensor["min_value"], sensor["max_value"]))


def _of_calibrations(series: SensorSeries, rows: Sequence[JSON]) -> TrainingData:
    times = np.array([row["applied_at"].timestamp() for row in rows], dtype=np.float64)
    corrected = np.array([row["corrected_value"] for row in rows], dtype=np.float64)
    known = correction.build_pairs(times, corrected, series.times, series.values)
    correction.check_enough_data(known)
    return TrainingData("calibration", known, len(known) - max(1, round(JUDGED_ON_CALIBRATIONS * len(known))))


def seen_by(material: TrainingData, up_to: int, last_time: float) -> Any:
    """The part of the past that an earlier version has seen, by reading id or by time of calibration."""
    past = material.past
    if isinstance(past, CalibrationPairs):
        return past.part(slice(0, int(np.searchsorted(past.times, last_time, side="right"))))
    return past.part(past.ids <= up_to)
