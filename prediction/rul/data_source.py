"""The stored telemetry and failures of the models for remaining useful life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypedDict

import numpy as np

from errors import InvalidContent, NotEnoughData, NotFound, NotReady
from prediction.contract import DataSource, ModelKey, Options, RecordBatch, TrainingSource
from prediction.records.fields import parse_instant, to_microseconds
from prediction.rul.data.collect import AGE
from prediction.rul.data.label import MICROSECONDS_PER_HOUR
from prediction.rul.data.splits import MIN_DEVICES, too_few_message
from prediction.rul.options import MAX_WINDOW_ROWS
from storage.db.database import Database
from storage.devices.device_patterns import WILDCARD, matches_device
from storage.devices.failures import Failures, RunEnd
from storage.devices.telemetry import Telemetry

# Twice the longest window: enough for the moving average before it.
_MAX_ROWS: Final = 2 * MAX_WINDOW_ROWS
_BEFORE_ALL: Final = -(2**62)
# Loggers often send once a day: a longer silence is worth a warning.
_SILENT_AFTER_HOURS: Final = 25.0


class StoredRows(TypedDict):
    """The stored rows of a device, as they complete a `RulInput`."""

    rows: list[dict[str, float]]
    times: list[int]
    silent_hours: float


class RulDataSource(DataSource):
    """Telemetry and failures in the database; model names are free."""

    def check_options(self, key: ModelKey, options: Options) -> None:
        if options["tenant_id"] not in (None, key.tenant):
            raise InvalidContent(f"tenant_id must be {key.tenant!r}, the tenant of the key")
        devices = Telemetry(self._database()).devices(key.tenant)
        missing = sorted(
            pattern
            for pattern in set(options["device_ids"] or ()) - set(devices)
            if not (
                pattern.endswith(WILDCARD) and any(matches_device(device, [pattern]) for device in devices)
            )
        )
        if missing:
            raise NotFound(f"There is no telemetry of {', '.join(missing[:10])}")
        if not devices:
            raise NotEnoughData("There is no telemetry yet: send it to POST /api/telemetry, or import it")
        named = [device for device in devices if matches_device(device, options["device_ids"])]
        # With lower bounds, devices that have not failed teach, too: only the training can count them.
        if options["censored"] == "leave_out":
            named = self._select_failed(key.tenant, named, options)
        if len(named) < MIN_DEVICES:
            raise NotEnoughData(
                f"{too_few_message(len(named))}: send failures to POST /api/failure-events, or name more devices in "
                "device_ids"
            )

    def _select_failed(self, tenant: str, devices: Sequence[str], options: Options) -> list[str]:
        """Return the devices with a failure that a training would read."""
        start = options["start_date"]
        first = _BEFORE_ALL if start is None else to_microseconds(parse_instant("start_date", start))
        ends = Failures(self._database()).run_ends(tenant, options["device_ids"])
        return [
            device
            for device in devices
            if any(failed and time >= first for time, failed in ends.get(device, ()))
        ]

    def resolve_inputs(self, key: ModelKey, batch: RecordBatch, facts: Mapping[str, object]) -> RecordBatch:
        """Add the rows of devices that are only named: those since their last failure."""
        named = [record["device_id"] for record in batch.records if not record["rows"]]
        if not named:
            return batch
        telemetry = Telemetry(self._database())
        ends = Failures(self._database()).run_ends(key.tenant, named)
        records, warnings = [], [*batch.warnings]
        for record in batch.records:
            if record["rows"]:
                records.append(record)
                continue
            device_id = record["device_id"]
            stored = _read_rows(telemetry, key.tenant, device_id, ends.get(device_id, ()))
            records.append({**record, **stored})
            if stored["silent_hours"] > _SILENT_AFTER_HOURS:
                warnings.append(
                    f"{device_id} has sent no telemetry for {stored['silent_hours']:,.0f} hours: "
                    "the prediction is as of its last row"
                )
        return RecordBatch(records, warnings, batch.ignored_fields)

    def training_source(
        self, key: ModelKey, pending: Path | None, staged: Path | None = None
    ) -> TrainingSource:
        database = self._database()
        return {
            "tenant": key.tenant,
            "database": database.engine.url.render_as_string(hide_password=False),
            "run_dir": str(self.data_dir / "run"),
            "telemetry_up_to": Telemetry(database).get_watermark(),
            "failures_up_to": Failures(database).get_watermark(),
        }

    def _database(self) -> Database:
        if self.database is None:
            raise NotReady("The models for remaining useful life need the database")
        return self.database


def _read_rows(telemetry: Telemetry, tenant: str, device_id: str, ends: Sequence[RunEnd]) -> StoredRows:
    """Return a device's last rows since its last failure, each with the hours it had run."""
    now = to_microseconds(datetime.now(UTC))
    last_end = max((end for end, _ in ends if end <= now), default=_BEFORE_ALL)
    latest = telemetry.latest(tenant, device_id, _MAX_ROWS)
    if not len(latest):
        raise NotFound(f"There is no telemetry of {device_id!r}")
    current = latest.select(np.flatnonzero(latest.times > last_end))
    if not len(current):
        raise InvalidContent(
            f"{device_id!r} has sent no telemetry since its last run ended "
            "(a failure, maintenance, replacement)"
        )
    # The run may be longer than the rows that were read.
    run_start = telemetry.first_after(tenant, device_id, last_end)
    ages = ((current.times - run_start) / MICROSECONDS_PER_HOUR).tolist()
    rows = [
        {
            AGE: age,
            **{
                name: float(value)
                for name, value in zip(current.channels, row, strict=True)
                if np.isfinite(value)
            },
        }
        for age, row in zip(ages, current.values, strict=True)
    ]
    silent_hours = max(0, now - int(current.times[-1])) / MICROSECONDS_PER_HOUR
    return {"rows": rows, "times": current.times.tolist(), "silent_hours": silent_hours}
