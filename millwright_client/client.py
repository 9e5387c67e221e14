"""One Millwright server, as an object."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload
from urllib.parse import quote

from millwright_client.connection import Connection, Part
from millwright_client.errors import JSON, ConflictError, NotFoundError
from millwright_client.sensors import Moment, Sensor
from millwright_client.sessions import TrainingSession, start_session
from millwright_client.tables import Frame, PagedRows, Predictions, Rows, to_records

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_MODEL = "scoring/default"


class Millwright:
    """A server.

    Parameters
    ----------
    url : str
        Its address; default: a server on this machine.
    api_key : str, optional
        Such as ``mw_…``. A server that listens on this machine only may need none.
    ca_file : str or Path, optional
        Certificates (PEM) of the authority that signed the server's, where it is the plant's own.
    show_progress : bool, optional
        Whether waiting for a training shows how far it is; None: on a terminal and in a notebook.

    Examples
    --------
    >>> client = Millwright("http://127.0.0.1:5000", api_key="mw_…")  # doctest: +SKIP
    >>> session = client.train(reports).wait()  # doctest: +SKIP
    >>> session.verdict.promoted, session.verdict.reasons  # doctest: +SKIP
    >>> client.predict(new_reports)  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:5000",
        api_key: str | None = None,
        *,
        ca_file: str | Path | None = None,
        show_progress: bool | None = None,
    ) -> None:
        self.connection = Connection(url, api_key, ca_file)
        self._show_progress = show_progress

    def __enter__(self) -> Self:
        """Return the client, whose connections are released at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the connections."""
        self.connection.close()

    # --- training ---

    def train(self, data: object = None, model: str = DEFAULT_MODEL, **options: object) -> TrainingSession:
        """Start a training and return its session at once; ``wait`` for its end.

        Parameters
        ----------
        data : DataFrame or iterable of dict, optional
            New records, of families that learn from records (scoring). The others learn from what is stored.
        model : str
            ``family/name``.
        **options
            Options of the family, such as ``seed=42`` or ``epochs=10``.

        Raises
        ------
        RefusedError
            A record or an option is invalid; nothing has changed.
        ConflictError
            The model is being trained already.
        """
        return start_session(
            self.connection, f"/train/{_path(model)}", _training_body(data, options), self._show_progress
        )

    def preview_training(self, data: object = None, model: str = DEFAULT_MODEL, **options: object) -> JSON:
        """Return what ``train`` would do with the same arguments, without doing it."""
        return self.connection.post(
            f"/train/{_path(model)}", _training_body(data, options), {"dry_run": True}
        )

    def session(self, session_id: int) -> TrainingSession:
        """Return a session by its number."""
        state = self.connection.get(f"/train/sessions/{session_id}")
        return TrainingSession(self.connection, state, self._show_progress)

    def sessions(self) -> PagedRows:
        """Return the sessions of all models, the newest first."""
        return self._list("/train/sessions")

    def status(self) -> JSON:
        """Return what trains now and what trained last."""
        return self.connection.get("/train/status")

    def statistics(self) -> JSON:
        """Return sessions per month, records, training times, quality and storage."""
        return self.connection.get("/train/statistics")

    def health(self) -> JSON:
        """Return what serves, and ``problems`` in words."""
        return self.connection.get("/health")

    # --- predictions ---

    @overload
    def predict(self, data: Frame, model: str = DEFAULT_MODEL, **query: object) -> pd.DataFrame: ...

    @overload
    def predict(self, data: object, model: str = DEFAULT_MODEL, **query: object) -> Predictions: ...

    def predict(
        self, data: object, model: str = DEFAULT_MODEL, **query: object
    ) -> pd.DataFrame | Predictions:
        """Return one prediction for each record, all of one version.

        Parameters
        ----------
        data : DataFrame or iterable of dict
            Records to predict for; one dictionary goes to the server as it is (``{"devices": […]}``).
        **query
            Query options of the family, such as ``similar_reports=0`` or ``coverage=0.8``.

        Returns
        -------
        DataFrame or Predictions
            A frame, with the index of the given one, for a frame; a list for anything else. ``frame.attrs`` has
            ``model``, ``version``, ``warnings``, ``ignored_fields`` and ``prediction_id``, as a list has them as
            attributes.

        Raises
        ------
        ConflictError
            There is no version that serves.
        """
        records = to_records(data)
        document: object = records[0] if isinstance(data, dict) else records
        answer = self.connection.post(f"/predict/{_path(model)}", document, query)
        predictions = Predictions(answer)
        if not isinstance(data, Frame):
            return predictions
        frame = predictions.to_pandas()
        if len(data.index) == len(frame):
            frame.index = data.index
        frame.attrs = dict(vars(predictions))
        return frame

    def predictions(self) -> PagedRows:
        """Return the kept predictions, the newest first."""
        return self._list("/predictions")

    def explain(self, prediction_id: str) -> JSON:
        """Return what stood behind a kept prediction, and whether the version of then and today's agree."""
        return self.connection.get(f"/predictions/{_quote(prediction_id)}")

    # --- models ---

    def models(self, family: str | None = None) -> PagedRows:
        """Return the models with the version that serves and its metrics."""
        return self._list("/models", family=family)

    def versions(self, model: str = DEFAULT_MODEL) -> PagedRows:
        """Return the versions of a model with their manifests, the newest first."""
        return self._list(f"/models/{_path(model)}/versions")

    def promote(self, version: int, model: str = DEFAULT_MODEL, accepted_by: str | None = None) -> JSON:
        """Make a version the one that serves.

        Parameters
        ----------
        accepted_by : str, optional
            The person who accepts lower scores for locked severe cases.

        Raises
        ------
        ConflictError
            ``safer_answers``: it gives locked severe cases lower scores, and nobody has accepted that.
        """
        path = f"/models/{_path(model)}/versions/{version}/promote"
        return self.connection.change(path, {"accepted_by": accepted_by} if accepted_by else None)

    def monitoring(self, model: str | None = None) -> JSON:
        """Return how a model does in production; without one, the schedule and the newest decisions."""
        return self.connection.get(f"/api/monitoring/{_path(model)}" if model else "/api/monitoring")

    # --- backups ---

    def backups(self) -> Rows:
        """Return the backups, the newest first."""
        return Rows(self.connection.get("/train/backups")["backups"])

    def create_backup(self, reason: str = "on request", *, retain: bool = False) -> JSON:
        """Back data and models up now."""
        return self.connection.change("/train/backups", {"reason": reason, "retain": retain})

    def preview_restore(self, name: str) -> JSON:
        """Return what ``restore`` would change, without changing it."""
        return self.connection.post(f"/train/restore/{_quote(name)}", query={"dry_run": True})

    def restore(self, name: str) -> JSON:
        """Bring data and models back to a backup; the present is backed up first."""
        return self.connection.change(f"/train/restore/{_quote(name)}")

    # --- sensors and devices ---

    def sensors(self, **filters: object) -> PagedRows:
        """Return the sensors; filters as in ``GET /api/sensors/``, such as ``type="Pressure"``."""
        return self._list("/api/sensors/", **filters)

    def sensor(self, sensor: int | str) -> Sensor:
        """Return a sensor by its number, its tag, or its exact name.

        Raises
        ------
        NotFoundError
            There is none.
        ConflictError
            Several have this name.
        """
        if isinstance(sensor, int):
            return self._sensor(self.connection.get(f"/api/sensors/{sensor}"))
        rows = self.sensors(tag=sensor).to_list() or [
            row for row in self.sensors(name=sensor) if row["name"] == sensor
        ]
        if not rows:
            raise NotFoundError(404, {"error": f"No sensor has the tag or name {sensor!r}", "code": "not_found"})
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            message = f"Several sensors are named {sensor!r} ({ids}): give the number or the tag"
            raise ConflictError(409, {"error": message, "code": "conflict"})
        return self._sensor(rows[0])

    def create_sensor(self, name: str, type: str, **fields: object) -> Sensor:
        """Register a sensor; further fields as in ``POST /api/sensors/``, such as ``unit="bar"``."""
        return self._sensor(self.connection.post("/api/sensors/", {"name": name, "type": type, **fields}))

    def readings(self, sensor: int | str, since: Moment = None, until: Moment = None) -> PagedRows:
        """Return the readings of a sensor, by its number, tag or name, in order of time."""
        return self.sensor(sensor).readings(since, until)

    def anomalies(self, **filters: object) -> PagedRows:
        """Return anomalies; filters as in ``GET /api/anomalies/``, such as ``resolved=False``."""
        return self._list("/api/anomalies/", **filters)

    def judge_anomaly(self, anomaly_id: int, verdict: str | None) -> JSON:
        """Record a verdict: ``confirmed``, ``false_alarm`` or ``new_normal``; None takes it back."""
        return self.connection.request("PATCH", f"/api/anomalies/{anomaly_id}", json={"verdict": verdict})

    def add_telemetry(self, data: object) -> JSON:
        """Store telemetry of devices: columns ``device_id``, ``timestamp``, and one for each channel."""
        return self.connection.post("/api/telemetry", to_records(data))

    def telemetry(self, **filters: object) -> PagedRows:
        """Return telemetry; filters ``device_id``, ``since`` and ``until``."""
        return self._list("/api/telemetry", **filters)

    def add_failures(self, data: object) -> JSON:
        """Store failure events of devices: columns ``device_id`` and ``event_time`` at least."""
        return self.connection.post("/api/failure-events", to_records(data))

    def failures(self, **filters: object) -> PagedRows:
        """Return failure events; filters ``device_id``, ``since`` and ``until``."""
        return self._list("/api/failure-events", **filters)

    def device_health(self, device_id: str, **query: object) -> JSON:
        """Return the hours that a device has left; options such as ``model="pumps"`` or ``coverage=0.8``."""
        return self.connection.get(f"/api/devices/{_quote(device_id)}/health", query)

    # --- datasets ---

    def upload_dataset(self, file: str | Path, **fields: object) -> JSON:
        """Upload a table (CSV, Parquet) or a zip of recordings; train on it with ``dataset=…``."""
        path = Path(file)
        parts: dict[str, Part] = {name: (None, str(value)) for name, value in fields.items()}
        return self.connection.request(
            "POST", "/datasets", files={**parts, "file": (path.name, path.read_bytes())}
        )

    def datasets(self) -> Rows:
        """Return the uploaded datasets, the newest first."""
        return Rows(self.connection.get("/datasets")["results"])

    def _sensor(self, row: JSON) -> Sensor:
        return Sensor(self.connection, row, self._show_progress)

    def _list(self, path: str, **query: object) -> PagedRows:
        return PagedRows(self.connection, path, query)


def _path(model: str) -> str:
    """Return a model's part of an address.

    Raises
    ------
    ValueError
        It is not ``family/name``.
    """
    family, separator, name = model.partition("/")
    if not (family and separator and name):
        raise ValueError(f"A model is family/name, such as {DEFAULT_MODEL}: not {model!r}")
    return f"{_quote(family)}/{_quote(name)}"


def _quote(text: str) -> str:
    return quote(text, safe="")


def _training_body(data: object, options: dict[str, object]) -> JSON:
    return {"options": options} if data is None else {"records": to_records(data), "options": options}
