"""The sensors: which are well, what one of them did and is expected to do, and what its models know."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import render_template
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, pre_load, validate

from api.http.context import identity, load_champion, manager
from api.http.fields import TimeBoundField
from api.http.resource import Query
from api.sensors.context import sensor_service
from api.sensors.sensors import SENSORS, SensorBody, SensorQuery
from dashboard.figures import Figure, build_drift_figure, build_readings_figure, sparkline
from dashboard.resource import (
    FIGURE,
    FORM,
    HTML,
    REDIRECT,
    Pages,
    drop_empty,
    read_form,
    render_charts,
    see_other,
)
from errors import InvalidContent, NoChampion, NotFound
from prediction.contract import ModelKey
from prediction.sensors.model_names import FAMILY, MODEL_KINDS, build_model_names
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.quality import check_quality
from storage.db.crud import Row
from storage.sensors.charts import read_chart
from storage.sensors.readings import from_microseconds, to_microseconds
from storage.sensors.sensors import STATUSES
from storage.sensors.tables import SENSOR_TYPES, VERDICTS, anomalies, calibrations

sensors = Pages("sensor pages", "Sensors, for people.")

PAGE_SIZE = 25
MAX_EPISODES, MAX_CALIBRATIONS = 200, 10
FORECAST_POINTS = 48
_SPARK_READINGS = 60
# Thinning half a million readings takes half a second.
MAX_CHART_READINGS = 50_000
# The expected band is drawn for so many of the newest readings: each is checked by the model.
_BAND_READINGS = 500
_QUALITY_READINGS = 20_000


class SensorPageQuery(SensorQuery):
    """The filters of the list. A browser sends a field that was left empty as an empty text."""

    limit = fields.Integer(load_default=PAGE_SIZE, validate=validate.Range(1, 100))

    @pre_load
    def drop_empty(self, data: dict[str, Any], **options: object) -> dict[str, Any]:
        """Take fields without a value as absent."""
        return drop_empty(data)


class PeriodQuery(Schema):
    """From when on a chart shows readings; by default, so many of the newest that a page answers at once."""

    since = TimeBoundField()


class VerdictForm(Schema):
    """What a person thinks of an anomaly."""

    verdict = fields.String(required=True, validate=validate.OneOf(VERDICTS))


class TrainForm(Schema):
    """Which models of a sensor are trained."""

    kind = fields.String(load_default="all", validate=validate.OneOf((*MODEL_KINDS, "all")))


@sensors.operation("/sensors", HTML, query=SensorPageQuery)
def list_sensors(query: Query) -> str:
    """List sensors with their status and their newest readings."""
    table = manager().sensors.sensors
    rows, next_cursor = table.page(
        identity().tenant, SENSORS.filters(query), query["limit"], query.get("cursor", 0)
    )
    newest = manager().sensors.readings.newest_values([row["id"] for row in rows], _SPARK_READINGS)
    return render_template(
        "sensors/list.html",
        sensors=rows,
        sparks={sensor_id: sparkline(values) for sensor_id, values in newest.items()},
        query=query,
        next_cursor=next_cursor,
        count=table.count(identity().tenant),
        statuses=STATUSES,
        types=SENSOR_TYPES,
    )


@sensors.operation("/sensors", REDIRECT, method="POST", role="train", body=FORM)
def register_sensor() -> ResponseReturnValue:
    """Register a sensor."""
    (sensor_id,) = manager().sensors.sensors.create(identity().tenant, [read_form(SensorBody)])
    return see_other(f"/sensors/{sensor_id}")


@sensors.operation("/sensors/<number:sensor_id>", HTML, query=PeriodQuery)
def get_sensor(query: Query, sensor_id: int) -> ResponseReturnValue:
    """Show one sensor: readings, anomalies, forecast, calibrations, models and data quality."""
    tenant, stores = identity().tenant, manager().sensors
    sensor = stores.sensors.get(tenant, sensor_id)
    readings = SensorSeries.from_stored(stores.readings.series(sensor_id, latest=_QUALITY_READINGS))
    return render_charts(
        "sensors/sensor.html",
        sensor=sensor,
        episodes=_list_episodes(sensor_id),
        calibrations=stores.calibrations.page(
            tenant, [calibrations.c.sensor_id == sensor_id], MAX_CALIBRATIONS, newest_first=True
        )[0],
        quality=check_quality(readings, sensor["min_value"], sensor["max_value"]),
        has_readings=bool(len(readings)),
        since=query.get("since"),
        starts_at=from_microseconds(start) if (start := _read_start(sensor_id, query)) is not None else None,
        models=[_describe_model(name) for name in build_model_names([sensor_id])],
        kinds=MODEL_KINDS,
        verdicts=VERDICTS,
    )


@sensors.operation("/sensors/<number:sensor_id>/figures/readings", FIGURE, query=PeriodQuery)
def get_readings_figure(query: Query, sensor_id: int) -> Figure:
    """Return the chart of a sensor's readings, thinned by the database."""
    stores = manager().sensors
    sensor = stores.sensors.get_stored(identity().tenant, sensor_id)
    columns = read_chart(stores.database, sensor_id, since=_read_start(sensor_id, query))
    episodes = _list_episodes(sensor_id)
    newest = stores.readings.series(sensor_id, latest=_BAND_READINGS)
    band = None
    if len(newest.times):
        detections = sensor_service().detect(sensor, newest.values, newest.times)
        if any("expected_low" in detection for detection in detections):
            band = newest.times, detections
    return build_readings_figure(sensor["name"], sensor, columns, episodes, band)


@sensors.operation("/sensors/<number:sensor_id>/figures/drift", FIGURE)
def get_drift_figure(sensor_id: int) -> Figure:
    """Return the chart of a sensor's drift to come."""
    sensor = manager().sensors.sensors.get_stored(identity().tenant, sensor_id)
    forecast = sensor_service().forecast_drift(sensor, FORECAST_POINTS)
    return build_drift_figure(sensor["name"], forecast["predictions"])


@sensors.operation(
    "/sensors/<number:sensor_id>/anomalies/<number:anomaly_id>",
    REDIRECT,
    method="POST",
    role="train",
    body=FORM,
)
def judge_anomaly(sensor_id: int, anomaly_id: int) -> ResponseReturnValue:
    """Record a verdict on an anomaly, which resolves it."""
    verdict = read_form(VerdictForm)["verdict"]
    stores, tenant = manager().sensors, identity().tenant
    if stores.anomalies.get(tenant, anomaly_id)["sensor_id"] != sensor_id:
        raise NotFound(f"Sensor {sensor_id} has no anomaly {anomaly_id}")
    stores.anomalies.resolve(tenant, anomaly_id, {"verdict": verdict, "resolved": True})
    return see_other(f"/sensors/{sensor_id}#anomalies")


@sensors.operation("/sensors/<number:sensor_id>/train", REDIRECT, method="POST", role="train", body=FORM)
def train_sensor(sensor_id: int) -> ResponseReturnValue:
    """Train the models of a sensor, and lead to the session."""
    kind = read_form(TrainForm)["kind"]
    sensor = manager().sensors.sensors.get_stored(identity().tenant, sensor_id)
    names = build_model_names([sensor["id"]], MODEL_KINDS if kind == "all" else (kind,))
    session = manager().train_batch(FAMILY, identity().tenant, names, wait=False).session
    if session is None:
        raise InvalidContent(f"Sensor {sensor_id} has nothing to train")
    return see_other(f"/trainings/{session.id}")


def _read_start(sensor_id: int, query: Query) -> int | None:
    """Return from when on the chart shows readings, in microseconds since 1970; None where it shows all."""
    if "since" in query:
        return to_microseconds(query["since"])
    return manager().sensors.readings.find_start(sensor_id, MAX_CHART_READINGS)


def _list_episodes(sensor_id: int) -> list[Row]:
    """Return a sensor's newest anomalies, the newest first."""
    of_sensor = anomalies.c.sensor_id == sensor_id
    table = manager().sensors.anomalies
    return table.page(identity().tenant, [of_sensor], MAX_EPISODES, newest_first=True)[0]


def _describe_model(name: str) -> dict[str, object]:
    """Return a model of a sensor with its champion, where it has one."""
    key = ModelKey(FAMILY, name, identity().tenant)
    kind = name.split("-", 1)[1]
    try:
        champion = load_champion(key)
    except NoChampion:
        return {"kind": kind, "version": None}
    return {
        "kind": kind,
        "version": champion.number,
        "created_at": datetime.fromisoformat(champion.manifest["created_at"]),
        "session_id": champion.manifest.get("session_id"),
    }
