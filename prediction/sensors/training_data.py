"""Read the rows of a training from the database and split them by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from errors import NotEnoughData
from prediction.contract import PreparedData, Resources
from prediction.sensors import anomaly, calibration, drift
from prediction.sensors.data_source import SensorsSource
from prediction.sensors.readings import SensorSeries
from prediction.sensors.tasks import AnomalyTask, CalibrationTask, DriftTask, SensorFacts, SensorTask
from prediction.splits import SplitCertificate
from storage.db.crud import Row
from storage.db.database import Database
from storage.sensors.baseline import make_baseline
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings, StoredReadings
from storage.sensors.sensors import Sensors

# The latest readings of a sensor that a model learns from, so that memory does not grow with the years.
MAX_READINGS = 500_000
_HELD_OUT_SHARE = 0.2
# There are few calibrations; a fifth of them would be one or two.
_HELD_OUT_CALIBRATIONS_SHARE = 0.3
_BASELINE_READINGS = 10

AnySensorTask = SensorTask[Any, Any]


@dataclass(frozen=True, kw_only=True)
class PreparedSensorData(PreparedData):
    """The rows of one sensor model with their certificate."""

    task: AnySensorTask


def prepare(source: SensorsSource, resources: Resources) -> PreparedSensorData:
    """Read one model's rows.

    Raises
    ------
    NotEnoughData
        Fewer rows than this kind of model needs; the message names the minimum.
    NotFound
        The sensor has gone.
    """
    database = open_database(source, resources)
    sensor, stored = _read_sensor(source, database, resources)
    series = SensorSeries.from_stored(stored)
    if source["kind"] == "calibration":
        rows = Calibrations(database).list_manual(source["sensor_id"], up_to=source["calibrations_up_to"])
        task: AnySensorTask = _build_calibration_task(series, rows)
        left_out = 0
    else:
        task = _build_reading_task(source["kind"], series.exclude(source["left_out"]), sensor)
        left_out = len(series) - len(task.rows)
    facts: SensorFacts = {
        "kind": task.kind,
        "sensor_id": sensor["id"],
        "sensor_name": sensor["name"],
        "unit": sensor["unit"],
        "readings": len(series),
        "left_out": left_out,
        "readings_up_to": int(stored.ids.max(initial=0)),
        "first": _format_time(task.rows.times[0]),
        "last": _format_time(task.rows.times[-1]),
        "last_time": float(task.rows.times[-1]),
    }
    count, first = len(task.rows), task.first_held_out
    return PreparedSensorData(
        task=task,
        certificate=SplitCertificate(
            task.row_noun, "time", train=[(0, first - 1)], test=[(first, count - 1)]
        ),
        fingerprint=task.rows.fingerprint(),
        rows=count,
        facts=dict(facts),
    )


def open_database(source: SensorsSource, resources: Resources) -> Database:
    """Return the child's own connection, shared by all models it trains."""
    url, run_dir = source["database"], Path(source["run_dir"])
    return resources.get_or_create(f"database {url}", lambda: Database(url, run_dir))


@dataclass
class _LastRead:
    """The sensor that was read last: a batch trains the models of one sensor one after the other."""

    key: tuple[object, ...] = ()
    sensor: Row | None = None
    stored: StoredReadings | None = None


def _read_sensor(
    source: SensorsSource, database: Database, resources: Resources
) -> tuple[Row, StoredReadings]:
    last = resources.get_or_create("last sensor read", _LastRead)
    key = (source["database"], source["tenant"], source["sensor_id"], source["readings_up_to"])
    if last.key != key or last.sensor is None or last.stored is None:
        last.sensor = Sensors(database).get_stored(source["tenant"], source["sensor_id"])
        last.stored = Readings(database).series(
            source["sensor_id"], up_to=source["readings_up_to"], latest=MAX_READINGS
        )
        last.key = key
    return last.sensor, last.stored


def _build_reading_task(kind: str, series: SensorSeries, sensor: Row) -> AnySensorTask:
    needed = anomaly.MIN_READINGS if kind == "anomaly" else drift.MIN_READINGS
    if len(series) < needed:
        raise NotEnoughData(f"Not enough data: {len(series)} readings, at least {needed} needed")
    first = len(series) - max(1, round(_HELD_OUT_SHARE * len(series)))
    if kind == "anomaly":
        return AnomalyTask(series, first)
    value = sensor["baseline"]
    if value is None:
        value = float(series.values[:_BASELINE_READINGS].mean())
    return DriftTask(series, first, make_baseline(value, sensor["min_value"], sensor["max_value"]))


def _build_calibration_task(series: SensorSeries, rows: Sequence[Row]) -> CalibrationTask:
    times = np.array([row["applied_at"].timestamp() for row in rows], dtype=np.float64)
    corrected = np.array([row["corrected_value"] for row in rows], dtype=np.float64)
    pairs = calibration.build_pairs(times, corrected, series.times, series.values)
    calibration.check_enough_data(pairs)
    held_out = max(1, round(_HELD_OUT_CALIBRATIONS_SHARE * len(pairs)))
    return CalibrationTask(pairs, len(pairs) - held_out)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds")
