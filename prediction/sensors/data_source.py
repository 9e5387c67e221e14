"""What a training of a sensor model reads: the rows up to the moment it was requested."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypedDict

from errors import NotFound, NotReady
from prediction.contract import DataSource, ModelKey, TrainingSource
from prediction.sensors.model_names import MODEL_KINDS, parse_key
from prediction.sensors.readings.reading_records import is_tag
from storage.db.database import Database
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors

_MAX_SHOWN: Final = 200


class SensorsSource(TypedDict):
    """Where the child reads, up to which rows, and which periods (seconds since 1970) it leaves out."""

    kind: str
    sensor_id: int
    tenant: str
    database: str
    run_dir: str
    readings_up_to: int
    calibrations_up_to: int
    left_out: list[tuple[float, float]]


class SensorsDataSource(DataSource):
    """Sensors and their rows in the database."""

    def resolve_name(self, name: str, tenant: str) -> str:
        """Return the name with the number of the sensor where it has its tag."""
        tag, _, kind = name.rpartition("-")
        if kind not in MODEL_KINDS or not is_tag(tag):
            return name
        numbers = Sensors(self._require_database()).find_tags(tenant, [tag])
        if tag not in numbers:
            raise NotFound(f"No sensor has the tag {tag[:_MAX_SHOWN]!r}: GET /api/sensors/ lists them")
        return f"{numbers[tag]}-{kind}"

    def check_key(self, key: ModelKey) -> None:
        """Raise NotFound where the tenant has no such sensor, or the kind of model does not exist."""
        Sensors(self._require_database()).get_stored(key.tenant, parse_key(key)[0])

    def training_source(
        self, key: ModelKey, pending: Path | None, staged: Path | None = None
    ) -> TrainingSource:
        """Describe the rows that are stored now; rows that arrive during the training are left out."""
        sensor_id, kind = parse_key(key)
        database = self._require_database()
        periods = Anomalies(database).suspected(sensor_id)
        source: SensorsSource = {
            "kind": kind,
            "sensor_id": sensor_id,
            "tenant": key.tenant,
            "database": database.engine.url.render_as_string(hide_password=False),
            "run_dir": str(self.data_dir / "run"),
            "readings_up_to": Readings(database).get_watermark(),
            "calibrations_up_to": Calibrations(database).get_watermark(),
            "left_out": [(first.timestamp(), last.timestamp()) for first, last in periods],
        }
        return dict(source)

    def _require_database(self) -> Database:
        if self.database is None:
            raise NotReady("The sensor models need the database")
        return self.database
