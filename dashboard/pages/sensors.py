"""The sensors: which are well, what one of them did and is expected to do, and what its models know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypedDict, cast
from urllib.parse import urlencode

import numpy as np
from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from marshmallow import Schema, fields, validate

from api.http.context import identity, load_champion, manager
from api.http.fields import TimeBoundField
from api.http.request_body import parse_table, read_upload
from api.http.resource import Query
from api.security.browser_session import browser_sessions
from api.sensors.context import sensor_service
from api.sensors.readings import MAX_FAULTS, store_readings
from api.sensors.sensors import SENSORS, SensorBody, SensorQuery
from dashboard.figures import (
    CalibrationNames,
    Figure,
    build_calibration_figure,
    build_drift_figure,
    build_readings_figure,
    sparkline,
)
from dashboard.resource import (
    FIGURE,
    FILE_FORM,
    FORM,
    HTML,
    REDIRECT,
    FormQuery,
    Pages,
    read_form,
    render_charts,
    see_other,
)
from dashboard.training_form import faults_by_field
from errors import InvalidContent, InvalidRecords, MillwrightError, NoChampion, NotFound
from prediction.contract import ModelKey
from prediction.records.fields import FieldError, RecordFault, placeholder_warnings
from prediction.records.parsing import number_records
from prediction.sensors.calibration.model import CalibrationModel
from prediction.sensors.model_names import FAMILY, MODEL_KINDS, build_model_names
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.quality import check_quality
from prediction.sensors.readings.reading_records import (
    MAX_READINGS,
    MAX_TAG_LENGTH,
    READING_SCHEMA,
    SENSOR_NAMES,
    count_placeholder_records,
    parse_readings,
)
from prediction.sensors.serving.predictor import SensorsPredictor
from storage.alarms.episode_table import VERDICTS
from storage.db.crud import Row
from storage.sensors.charts import read_chart
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import from_microseconds, to_microseconds
from storage.sensors.sensors import STATUSES
from storage.sensors.tables import SENSOR_TYPES, anomalies, calibrations
from storage.text.csv_headers import fold_name
from storage.text.dates import DATE_ORDERS

sensors = Pages("sensor pages", "Sensors, for people.")

PAGE_SIZE = 25
MAX_EPISODES, MAX_CALIBRATIONS = 200, 10
FORECAST_POINTS = 48
CALIBRATION_POINTS = 60
_SPARK_READINGS = 60
# Thinning half a million readings takes half a second.
MAX_CHART_READINGS = 50_000
# The expected band is drawn for so many of the newest readings: each is checked by the model.
_BAND_READINGS = 500
# Reading four times as many takes 60 ms, most of the time of the page.
_QUALITY_READINGS = 5_000


# Columns that name a sensor, however they are spelt: each row must name the one of the page.
_SENSOR_COLUMNS: Final = frozenset(map(fold_name, (*SENSOR_NAMES, "sensor number", "capteur")))
# The result of an import stands in an address, which must stay short.
_MAX_IGNORED_FIELDS: Final = 10
_MAX_SHOWN_NAME: Final = 40
# What people call the columns of a reading.
_COLUMNS: Final[Mapping[str, str]] = {"value": "raw_value", "time": "timestamp"}


class ImportResult(TypedDict):
    """What came of an uploaded file of readings."""

    sensor_id: int
    reading_count: int
    anomaly_count: int
    ignored_fields: list[str]
    ignored_count: int
    warnings: list[str]


class SensorPageQuery(FormQuery, SensorQuery):
    """The filters of the list. A browser sends a field that was left empty as an empty text."""

    limit = fields.Integer(load_default=PAGE_SIZE, validate=validate.Range(1, 100))


class PeriodQuery(Schema):
    """From when on a chart shows readings; by default, so many of the newest that a page answers at once."""

    since = TimeBoundField()


class SensorPeriodQuery(PeriodQuery):
    """The page of a sensor, which may follow an import."""

    result = fields.String(
        metadata={"description": "What came of an import, as the page of its form signed it."}
    )


class VerdictForm(Schema):
    """What a person thinks of an anomaly."""

    verdict = fields.String(required=True, validate=validate.OneOf(VERDICTS))


class TrainForm(Schema):
    """Which models of a sensor are trained."""

    kind = fields.String(load_default="all", validate=validate.OneOf((*MODEL_KINDS, "all")))


@sensors.operation("/sensors", HTML, query=SensorPageQuery)
def list_sensors(query: Query) -> str:
    """List sensors with their status and their newest readings."""
    return _render_list(query)


@sensors.operation("/sensors", REDIRECT, method="POST", role="train", body=FORM, errors=(409, 422))
def register_sensor() -> ResponseReturnValue:
    """Register a sensor."""
    try:
        sensor_id = SENSORS.create(manager().sensors.sensors, read_form(SensorBody))
    except MillwrightError as error:
        return make_response(_render_list(SensorPageQuery().load({}), error), error.status)
    return see_other(f"/sensors/{sensor_id}")


def _render_list(query: Query, error: MillwrightError | None = None) -> str:
    """Render the list and the form that registers a sensor; after an error, with everything that was written."""
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
        written=request.form,
        faults=faults_by_field(error) if error else {},
        error=error,
    )


@sensors.operation("/sensors/<number:sensor_id>", HTML, query=SensorPeriodQuery)
def get_sensor(query: Query, sensor_id: int) -> ResponseReturnValue:
    """Show one sensor: readings, anomalies, forecast, calibrations, models and data quality."""
    return _render_sensor(sensor_id, query)


@sensors.operation(
    "/sensors/<number:sensor_id>/edit", REDIRECT, method="POST", role="train", body=FORM, errors=(409, 422)
)
def edit_sensor(sensor_id: int) -> ResponseReturnValue:
    """Change what is known of a sensor; a field that was left empty is forgotten."""
    manager().sensors.sensors.get_stored(identity().tenant, sensor_id)
    try:
        SENSORS.change(manager().sensors.sensors, sensor_id, read_form(SensorBody))
    except MillwrightError as error:
        return make_response(_render_sensor(sensor_id, {}, edit_error=error), error.status)
    return see_other(f"/sensors/{sensor_id}")


@sensors.operation(
    "/sensors/<number:sensor_id>/readings",
    REDIRECT,
    method="POST",
    role="train",
    body=FILE_FORM,
    errors=(409, 413, 422),
)
def import_readings(sensor_id: int) -> ResponseReturnValue:
    """Store the readings of a CSV file with a column of times and one of values, and look for anomalies."""
    sensor = manager().sensors.sensors.get_stored(identity().tenant, sensor_id)
    try:
        block, ignored_fields, warnings = _read_file(sensor)
        anomaly_count = store_readings(block, {sensor_id: sensor}, detect=True).anomalies.count
    except MillwrightError as error:
        return make_response(_render_sensor(sensor_id, {}, import_error=error), error.status)
    result: ImportResult = {
        "sensor_id": sensor_id,
        "reading_count": len(block),
        "anomaly_count": anomaly_count,
        "ignored_fields": [name[:_MAX_SHOWN_NAME] for name in ignored_fields[:_MAX_IGNORED_FIELDS]],
        "ignored_count": len(ignored_fields),
        "warnings": warnings,
    }
    address = urlencode({"result": browser_sessions().sign_result(identity(), result)})
    return see_other(f"/sensors/{sensor_id}?{address}#import")


def _read_file(sensor: Row) -> tuple[ReadingBlock, list[str], list[str]]:
    """Return the readings of the uploaded file, the columns that are not read, and warnings.

    One wrong line, or one that names another sensor, refuses the file as a whole.
    """
    date_order = request.form.get("date_order") or None
    if date_order not in (None, *DATE_ORDERS):
        raise InvalidContent(f"date_order: must be one of {', '.join(DATE_ORDERS)}")
    rows = parse_table(read_upload("file").read(), date_order)
    if not 1 <= len(rows) <= MAX_READINGS:
        raise InvalidContent(f"A file has 1 to {MAX_READINGS:,} readings, not {len(rows):,}")
    misplaced = [
        fault for line, row in number_records(rows) if (fault := _find_other_sensor(line, row, sensor))
    ]
    records = list(number_records(_to_record(row, sensor["id"]) for row in rows))
    block, _, faults = parse_readings(records)
    if faults or misplaced:
        faults = sorted([*misplaced, *faults], key=lambda fault: fault["record"] or 0)
        raise InvalidRecords(faults[:MAX_FAULTS], wrong=len(faults))
    warnings = [*rows.notes, *placeholder_warnings(count_placeholder_records(block))]
    return block, READING_SCHEMA.ignored(records), warnings


def _find_other_sensor(line: int, row: Mapping[str, object], sensor: Row) -> RecordFault | None:
    """Return the fault of a row that names another sensor than the one of this page; None where it does not."""
    own_names = {sensor["name"], sensor["tag"]}
    for column, cell in row.items():
        name = "" if cell is None else str(cell).strip()
        if not name or fold_name(column) not in _SENSOR_COLUMNS or name in own_names:
            continue
        if name.isascii() and name.isdigit() and name.lstrip("0") == str(sensor["id"]):
            continue
        message = (
            f"{column} is {name[:MAX_TAG_LENGTH]!r}, and this page stores readings of sensor {sensor['id']} alone: "
            "import those of other sensors on their pages, or all at once with `millwright import readings`"
        )
        return FieldError(column, "other_sensor", name[:MAX_TAG_LENGTH], message).to_dict(line)
    return None


def _to_record(row: Mapping[str, object], sensor_id: int) -> dict[str, object]:
    """Return a row under the names of a reading; the sensor is that of the page."""
    cells: dict[str, object] = {}
    for column, cell in row.items():
        if fold_name(column) not in _SENSOR_COLUMNS:
            target = _COLUMNS.get(column, column)
            # The proper name wins; the other one is then a column that is not read.
            cells[column if target in row else target] = cell
    return {**cells, "sensor_id": sensor_id}


def _read_result(sensor_id: int, text: str) -> ImportResult | None:
    """Return what came of the import that led to this page; None where none did."""
    result = cast("ImportResult | None", browser_sessions().read_result(identity(), text)) if text else None
    return result if result and result["sensor_id"] == sensor_id else None


def _render_sensor(
    sensor_id: int,
    query: Query,
    edit_error: MillwrightError | None = None,
    import_error: MillwrightError | None = None,
) -> ResponseReturnValue:
    """Render a sensor; after an error, with everything that was written."""
    tenant, stores = identity().tenant, manager().sensors
    sensor = stores.sensors.get(tenant, sensor_id)
    readings = SensorSeries.from_stored(stores.readings.series(sensor_id, latest=_QUALITY_READINGS))
    start = _read_start(sensor_id, query)
    calibration, calibration_error = None, ""
    try:
        calibration = _load_calibration(sensor_id)
    except MillwrightError as error:
        # Everything else on the page is still true.
        calibration_error = error.message
    return render_charts(
        "sensors/sensor.html",
        sensor=sensor,
        episodes=_list_episodes(sensor_id),
        calibrations=stores.calibrations.page(
            tenant, [calibrations.c.sensor_id == sensor_id], MAX_CALIBRATIONS, newest_first=True
        )[0],
        calibration=calibration,
        calibration_error=calibration_error,
        due_at=_read_due_time(calibration),
        quality=check_quality(readings, sensor["min_value"], sensor["max_value"]),
        has_readings=bool(len(readings)),
        since=query.get("since"),
        starts_at=from_microseconds(start) if start is not None else None,
        models=[_describe_model(name) for name in build_model_names([sensor_id])],
        kinds=MODEL_KINDS,
        verdicts=VERDICTS,
        types=SENSOR_TYPES,
        date_orders=DATE_ORDERS,
        written=request.form if edit_error else sensor,
        faults=faults_by_field(edit_error) if edit_error else {},
        edit_error=edit_error,
        import_error=import_error,
        imported=_read_result(sensor_id, query.get("result", "")),
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


@sensors.operation("/sensors/<number:sensor_id>/figures/calibration", FIGURE)
def get_calibration_figure(sensor_id: int) -> Figure:
    """Return the chart of a sensor's correction with its uncertainty, over the calibrated range."""
    sensor = manager().sensors.sensors.get_stored(identity().tenant, sensor_id)
    model = _load_calibration(sensor_id)
    if model is None:
        raise NotFound(f"Sensor {sensor_id} has no calibration model yet")
    raw = np.linspace(model.low, model.high, CALIBRATION_POINTS)
    uncertainty = np.array([model.uncertainty(value) for value in raw.tolist()])
    names: CalibrationNames = {
        "curve": gettext("corrected value"),
        "raw": gettext("without a correction"),
        "pairs": gettext("calibrations"),
        "reading": gettext("reading"),
    }
    curve = raw, model.slope * raw + model.intercept, uncertainty
    return build_calibration_figure(
        names, sensor["unit"], curve, sensor_service().read_calibration_pairs(sensor_id)
    )


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
    stores.anomalies.update(tenant, anomaly_id, {"verdict": verdict, "resolved": True})
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


def _load_calibration(sensor_id: int) -> CalibrationModel | None:
    """Return the calibration model of a sensor; None where no version of it serves."""
    try:
        predictor = load_champion(ModelKey(FAMILY, f"{sensor_id}-calibration", identity().tenant)).predictor
    except NoChampion:
        return None
    assert isinstance(predictor, SensorsPredictor) and isinstance(predictor.model, CalibrationModel)
    return predictor.model


def _read_due_time(model: CalibrationModel | None) -> datetime | None:
    """Return when a sensor should be calibrated next; None where its calibrations do not tell."""
    date = model.due["date"] if model else None
    return datetime.fromtimestamp(date, UTC) if date is not None else None


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
    except MillwrightError as error:
        return {"kind": kind, "version": None, "error": error.message}
    return {
        "kind": kind,
        "version": champion.number,
        "created_at": datetime.fromisoformat(champion.manifest["created_at"]),
        "session_id": champion.manifest.get("session_id"),
    }
