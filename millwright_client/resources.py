"""What a server keeps, a group of calls for each kind: ``client.models``, ``client.backups`` and so on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from millwright_client.connection import Connection, Part
from millwright_client.errors import Answer
from millwright_client.tables import PagedRows, Rows, to_records

DEFAULT_MODEL = "scoring/default"


class ModelsResource:
    """Models and their versions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, family: str | None = None) -> PagedRows:
        """Return the models with the version that serves and its metrics."""
        return PagedRows(self._connection, "/models", {"family": family})

    def versions(self, model: str = DEFAULT_MODEL) -> PagedRows:
        """Return the versions of a model with their manifests, the newest first."""
        return PagedRows(self._connection, f"/models/{model_path(model)}/versions", {})

    def promote(self, version: int, model: str = DEFAULT_MODEL, accepted_by: str | None = None) -> Answer:
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
        path = f"/models/{model_path(model)}/versions/{version}/promote"
        return self._connection.change(path, {"accepted_by": accepted_by} if accepted_by else None)

    def monitoring(self, model: str | None = None) -> Answer:
        """Return how a model does in production; without one, the schedule and the newest decisions."""
        return self._connection.get(f"/api/monitoring/{model_path(model)}" if model else "/api/monitoring")

    def statistics(self) -> Answer:
        """Return sessions per month, records, training times, quality and storage."""
        return self._connection.get("/train/statistics")


class BackupsResource:
    """Backups of data and models."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Rows:
        """Return the backups, the newest first."""
        return Rows(self._connection.get("/train/backups")["backups"])

    def create(self, reason: str = "on request", *, retain: bool = False) -> Answer:
        """Back data and models up now."""
        return self._connection.change("/train/backups", {"reason": reason, "retain": retain})

    def preview_restore(self, name: str) -> Answer:
        """Return what ``restore`` would change, without changing it."""
        return self._connection.post(f"/train/restore/{quote_segment(name)}", query={"dry_run": True})

    def restore(self, name: str) -> Answer:
        """Bring data and models back to a backup; the present is backed up first."""
        return self._connection.change(f"/train/restore/{quote_segment(name)}")


class AnomaliesResource:
    """Anomalies of all sensors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, **filters: object) -> PagedRows:
        """Return anomalies; filters as in ``GET /api/anomalies/``, such as ``resolved=False``."""
        return PagedRows(self._connection, "/api/anomalies/", filters)

    def judge(self, anomaly_id: int, verdict: str | None) -> Answer:
        """Record a verdict: ``confirmed``, ``false_alarm`` or ``new_normal``; None takes it back."""
        path = f"/api/anomalies/{anomaly_id}"
        return self._connection.request("PATCH", path, json={"verdict": verdict})


class DevicesResource:
    """Telemetry and failures of devices, and the time that each has left."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def telemetry(self, **filters: object) -> PagedRows:
        """Return telemetry; filters ``device_id``, ``since`` and ``until``."""
        return PagedRows(self._connection, "/api/telemetry", filters)

    def add_telemetry(self, data: object, **query: object) -> Answer:
        """Store telemetry: columns ``device_id``, ``timestamp``, and one for each channel.

        Parameters
        ----------
        **query
            Parameters of ``POST /api/telemetry``, such as ``channel_column="channel"`` for a long table.
        """
        return self._connection.post("/api/telemetry", to_records(data), query)

    def failures(self, **filters: object) -> PagedRows:
        """Return failure events; filters ``device_id``, ``since`` and ``until``."""
        return PagedRows(self._connection, "/api/failure-events", filters)

    def add_failures(self, data: object) -> Answer:
        """Store failure events: columns ``device_id`` and ``event_time`` at least."""
        return self._connection.post("/api/failure-events", to_records(data))

    def health(self, device_id: str, **query: object) -> Answer:
        """Return the hours that a device has left; options such as ``model="pumps"`` or ``coverage=0.8``."""
        return self._connection.get(f"/api/devices/{quote_segment(device_id)}/health", query)


class DatasetsResource:
    """Uploaded tables and recordings."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Rows:
        """Return the uploaded datasets, the newest first."""
        return Rows(self._connection.get("/datasets")["results"])

    def upload(self, file: str | Path, **fields: object) -> Answer:
        """Upload a table (CSV, Parquet) or a zip of recordings; train on it with ``dataset=…``."""
        path = Path(file)
        parts: dict[str, Part] = {name: (None, str(value)) for name, value in fields.items()}
        return self._connection.request(
            "POST", "/datasets", files={**parts, "file": (path.name, path.read_bytes())}
        )


def model_path(model: str) -> str:
    """Return a model's part of an address.

    Raises
    ------
    ValueError
        It is not ``family/name``.
    """
    family, separator, name = model.partition("/")
    if not (family and separator and name):
        raise ValueError(f"A model is family/name, such as {DEFAULT_MODEL}: not {model!r}")
    return f"{quote_segment(family)}/{quote_segment(name)}"


def quote_segment(text: str) -> str:
    """Return a text as one segment of a path, its slashes quoted too."""
    return quote(text, safe="")
