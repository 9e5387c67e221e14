"""One sensor as an object: readings in and out, anomalies, models."""

from __future__ import annotations

from datetime import datetime

from millwright_client.connection import Connection
from millwright_client.errors import JSON
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
    """

    def __init__(self, connection: Connection, row: JSON, show_progress: bool | None = None) -> None:
        self._connection = connection
        self._show_progress = show_progress
        self.json = row
        """The sensor as the server described it last."""

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.json["id"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.json["name"])

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

    def add_readings(self, data: object, *, detect: bool = True) -> JSON:
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

    def add_calibration(self, corrected_value: float, applied_at: Moment = None, **fields: object) -> JSON:
        """Record what the true value was found to be; further fields as in ``POST /api/calibrations/``."""
        return self._add(
            "/api/calibrations/", corrected_value=corrected_value, applied_at=applied_at, **fields
        )

    def add_anomaly(self, type: str, value: float, timestamp: Moment = None, **fields: object) -> JSON:
        """Record an anomaly that a person saw; further fields as in ``POST /api/anomalies/``."""
        return self._add("/api/anomalies/", type=type, value=value, timestamp=timestamp, **fields)

    def quality(self) -> JSON:
        """Return gaps, duplicates, constant stretches and readings beyond the limits."""
        return self._connection.get(f"/api/sensors/{self.id}/quality")

    def train(self, model_type: str = "all", **options: object) -> TrainingSession:
        """Start to train its models: ``anomaly``, ``drift``, ``calibration`` or ``all`` of them."""
        body = {"sensor_id": self.id, "model_type": model_type, **options}
        return start_session(self._connection, "/api/model-training/", body, self._show_progress)

    def detect(self, value: float, timestamp: Moment = None) -> JSON:
        """Return whether one value is an anomaly, without storing anything."""
        body = {"sensor_id": self.id, "reading_value": value, "timestamp": _to_text(timestamp)}
        body = {name: field for name, field in body.items() if field is not None}
        return self._connection.post("/api/enhanced-anomaly-detection/", body, {"store": False})

    def predict_drift(self, **query: object) -> JSON:
        """Return the forecast of its drift; parameters as in ``GET /api/drift-prediction/``."""
        return self._connection.get("/api/drift-prediction/", {"sensor_id": self.id, **query})

    def correct(self, raw_value: float) -> JSON:
        """Return a corrected value; the correction is stored as a calibration."""
        body = {"sensor_id": self.id, "raw_value": raw_value}
        return self._connection.post("/api/adaptive-calibration/", body)

    def _add(self, path: str, **fields: object) -> JSON:
        (record,) = to_records({"sensor_id": self.id, **fields})
        return self._connection.post(
            path, {name: field for name, field in record.items() if field is not None}
        )

    def _list(self, path: str, since: Moment, until: Moment, **filters: object) -> PagedRows:
        period = {"since": _to_text(since), "until": _to_text(until)}
        return PagedRows(self._connection, path, {"sensor_id": self.id, **period, **filters})


def _to_text(moment: Moment) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment
