"""The sensors of a server, and one of them as an object: readings in and out, anomalies, models."""

from __future__ import annotations

from datetime import datetime

from millwright_client.connection import Connection
from millwright_client.errors import Answer, ConflictError, NotFoundError
from millwright_client.sessions import TrainingSession, start_session
from millwright_client.tables import PagedRows, to_records

Moment = datetime | str | None
"""A point in time: aware or RFC 3339 text."""


class Sensor:
    """A sensor that is registered.

    Parameters
    ----------
    connection : Connection
        To the server.
    row : dict
        The sensor as the server describes it.
    show_progress : bool, optional
        Passed on to sessions.

    Attributes
    ----------
    id : int
    name : str
    json : dict
        The sensor as the server described it.
    """

    def __init__(self, connection: Connection, row: Answer, show_progress: bool | None = None) -> None:
        self._connection = connection
        self._show_progress = show_progress
        self.json = row
        self.id = int(row["id"])
        self.name = str(row["name"])

    def readings(
        self, since: Moment = None, until: Moment = None, *, newest_first: bool = False
    ) -> PagedRows:
        """Return its readings in order of time, page by page."""
        return self._list("/api/readings/", since, until, newest_first=newest_first)

    def anomalies(self, since: Moment = None, until: Moment = None, **filters: object) -> PagedRows:
        """Return its anomalies; filters as in ``GET /api/anomalies/``, such as ``resolved=False``."""
        return self._list("/api/anomalies/", since, until, **filters)

    def calibrations(self, since: Moment = None, until: Moment = None) -> PagedRows:
        """Return its calibrations."""
        return self._list("/api/calibrations/", since, until)

    def add_readings(self, data: object, *, detect: bool = True) -> Answer:
        """Store readings, and look for anomalies in them.

        Parameters
        ----------
        data : DataFrame or iterable of dict
            Columns ``timestamp`` and ``raw_value``.

        Returns
        -------
        dict
            ``accepted``, ``anomalies`` and ``warnings``.
        """
        records = [{**record, "sensor_id": self.id} for record in to_records(data)]
        return self._connection.post("/api/readings/", records, {"detect": detect})

    def add_calibration(self, corrected_value: float, applied_at: Moment = None, **fields: object) -> Answer:
        """Record what the true value was found to be; further fields as in ``POST /api/calibrations/``."""
        return self._add(
            "/api/calibrations/", corrected_value=corrected_value, applied_at=applied_at, **fields
        )

    def add_anomaly(self, type: str, value: float, timestamp: Moment = None, **fields: object) -> Answer:
        """Record an anomaly that a person saw; further fields as in ``POST /api/anomalies/``."""
        return self._add("/api/anomalies/", type=type, value=value, timestamp=timestamp, **fields)

    def quality(self) -> Answer:
        """Return gaps, duplicates, constant stretches and readings beyond the limits."""
        return self._connection.get(f"/api/sensors/{self.id}/quality")

    def train(self, model_type: str = "all", **options: object) -> TrainingSession:
        """Start to train its models: ``anomaly``, ``drift``, ``calibration`` or ``all`` of them."""
        body = {"sensor_id": self.id, "model_type": model_type, **options}
        return start_session(self._connection, "/api/model-training/", body, self._show_progress)

    def detect(self, value: float, timestamp: Moment = None) -> Answer:
        """Return whether one value is an anomaly, without storing anything."""
        body = {"sensor_id": self.id, "reading_value": value, "timestamp": _to_text(timestamp)}
        body = {name: field for name, field in body.items() if field is not None}
        return self._connection.post("/api/enhanced-anomaly-detection/", body, {"store": False})

    def predict_drift(self, **query: object) -> Answer:
        """Return the forecast of its drift; parameters as in ``GET /api/drift-prediction/``."""
        return self._connection.get("/api/drift-prediction/", {"sensor_id": self.id, **query})

    def correct(self, raw_value: float) -> Answer:
        """Return a corrected value; the correction is stored as a calibration."""
        body = {"sensor_id": self.id, "raw_value": raw_value}
        return self._connection.post("/api/adaptive-calibration/", body)

    def _add(self, path: str, **fields: object) -> Answer:
        (record,) = to_records({"sensor_id": self.id, **fields})
        return self._connection.post(
            path, {name: field for name, field in record.items() if field is not None}
        )

    def _list(self, path: str, since: Moment, until: Moment, **filters: object) -> PagedRows:
        period = {"since": _to_text(since), "until": _to_text(until)}
        return PagedRows(self._connection, path, {"sensor_id": self.id, **period, **filters})


class SensorsResource:
    """The sensors of a server."""

    def __init__(self, connection: Connection, show_progress: bool | None = None) -> None:
        self._connection = connection
        self._show_progress = show_progress

    def list(self, **filters: object) -> PagedRows:
        """Return the sensors; filters as in ``GET /api/sensors/``, such as ``type="Pressure"``."""
        return PagedRows(self._connection, "/api/sensors/", filters)

    def get(self, sensor: int | str) -> Sensor:
        """Return a sensor by its number, its tag, or its exact name.

        Raises
        ------
        NotFoundError
            There is none.
        ConflictError
            Several have this name.
        """
        if isinstance(sensor, int):
            return self._sensor(self._connection.get(f"/api/sensors/{sensor}"))
        rows = self.list(tag=sensor).to_list() or [
            row for row in self.list(name=sensor) if row["name"] == sensor
        ]
        if not rows:
            raise NotFoundError(
                404, {"error": f"No sensor has the tag or name {sensor!r}", "code": "not_found"}
            )
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            message = f"Several sensors are named {sensor!r} ({ids}): give the number or the tag"
            raise ConflictError(409, {"error": message, "code": "conflict"})
        return self._sensor(rows[0])

    def create(self, name: str, type: str, **fields: object) -> Sensor:
        """Register a sensor; further fields as in ``POST /api/sensors/``, such as ``unit="bar"``."""
        return self._sensor(self._connection.post("/api/sensors/", {"name": name, "type": type, **fields}))

    def _sensor(self, row: Answer) -> Sensor:
        return Sensor(self._connection, row, self._show_progress)


def _to_text(moment: Moment) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment
