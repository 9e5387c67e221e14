"""The stored telemetry and failures of the models of assets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from errors import InvalidContent, NotEnoughData, NotFound, NotReady
from prediction.contract import DataSource, ModelKey, Options, RecordBatch, TrainingSource
from prediction.equipment.model.rows import CONTEXT_ROWS
from prediction.equipment.predictor import AssetInput
from prediction.equipment.request_parser import MAX_ROWS
from prediction.records.fields import to_microseconds
from prediction.telemetry import join_duplicates
from storage.db.database import Database
from storage.devices.asset_anomalies import AssetAnomalies
from storage.devices.telemetry import DeviceTelemetry, Telemetry

_END_OF_TIME: Final = 2**62


class EquipmentDataSource(DataSource):
    """Telemetry in the database; a model is named after its device, or the option ``device_id`` names it."""

    def check_options(self, key: ModelKey, options: Options) -> None:
        device_id = options["device_id"] or key.name
        if Telemetry(self._require_database()).span(key.tenant, device_id) is not None:
            return
        devices = Telemetry(self._require_database()).devices(key.tenant)
        if not devices:
            raise NotEnoughData("There is no telemetry yet: send it to POST /api/telemetry, or import it")
        raise NotFound(
            f"There is no telemetry of {device_id!r}: name the model after its device, or give device_id; there is "
            f"telemetry of {', '.join(devices[:10])}"
        )

    def resolve_inputs(self, key: ModelKey, batch: RecordBatch, facts: Mapping[str, object]) -> RecordBatch:
        """Add the stored rows of a period, with the rows before it that scores depend on."""
        records: list[AssetInput] = []
        for record in batch.records:
            device_id = record["device_id"] or str(facts["device_id"])
            records.append(
                record if record["rows"] else self._read_period(key.tenant, device_id, record)  # type: ignore[arg-type]
            )
        return RecordBatch(records, batch.warnings, batch.ignored_fields)

    def training_source(
        self, key: ModelKey, pending: Path | None, staged: Path | None = None
    ) -> TrainingSource:
        database = self._require_database()
        return {
            "tenant": key.tenant,
            "name": key.name,
            "database": database.engine.url.render_as_string(hide_password=False),
            "run_dir": str(self.data_dir / "run"),
            "telemetry_up_to": Telemetry(database).get_watermark(),
            "suspected": [
                (to_microseconds(first), to_microseconds(last))
                for first, last in AssetAnomalies(database).suspected(key.tenant, key.name)
            ],
        }

    def _read_period(self, tenant: str, device_id: str, record: AssetInput) -> AssetInput:
        telemetry = Telemetry(self._require_database())
        start, end = record["times"][0], (record["times"][1] if len(record["times"]) > 1 else _END_OF_TIME)
        stored = telemetry.read_with_context(
            tenant, device_id, start, end, context=CONTEXT_ROWS, max_rows=MAX_ROWS + 1
        )
        # Rows with the same time count, too: without them it is not known whether the period goes on.
        if int((stored.times >= start).sum()) > MAX_ROWS:
            raise InvalidContent(
                f"{device_id} has more than {MAX_ROWS:,} rows in this period: ask for a shorter one"
            )
        stored = join_duplicates(stored)
        context = int((stored.times < start).sum())
        if len(stored) == context:
            raise NotFound(f"There is no telemetry of {device_id!r} in this period")
        return {
            "device_id": device_id,
            "rows": to_request_rows(stored),
            "times": stored.times.tolist(),
            "dated": True,
            "context": context,
        }

    def _require_database(self) -> Database:
        if self.database is None:
            raise NotReady("The models of assets need the database")
        return self.database


def to_request_rows(telemetry: DeviceTelemetry) -> list[dict[str, float]]:
    """Return stored rows as clients send them: without channels that have no value."""
    return [
        {
            name: float(value)
            for name, value in zip(telemetry.channels, row, strict=True)
            if np.isfinite(value)
        }
        for row in telemetry.values
    ]
