"""What a client may send to the family for remaining useful life: options, and a device or its last rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from errors import InvalidContent, InvalidRecords, NotEnoughData, NotFound, NotReady
from prediction.contract import JSON, Intake, ModelKey, RecordBatch
from prediction.options import load_options
from prediction.records.fields import FieldError, RecordFault, parse_instant, parse_text, to_microseconds
from prediction.rul.data.collect import AGE
from prediction.rul.options import LONGEST_WINDOW, RulOptions
from prediction.rul.records import parse_values
from storage.db.database import Database
from storage.devices.device_patterns import WILDCARD, matches_device
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry

MOST_ROWS: Final = 20_000
MOST_DEVICES: Final = 1_000
_LATEST_ROWS: Final = 2 * LONGEST_WINDOW
_KNOWN: Final = frozenset({"rows", "device_id", "devices", "coverage", "costs", "window_hours"})
_HOUR: Final = 3_600_000_000


class RulIntake(Intake):
    """Telemetry and failures below ``/api``; models are named as people like."""

    def parse_options(self, raw: JSON) -> JSON:
        return load_options(RulOptions, raw)

    def check_options(self, key: ModelKey, options: JSON) -> None:
        if options["tenant_id"] not in (None, key.tenant):
            raise InvalidContent(f"tenant_id must be {key.tenant!r}, the tenant of the key")
        known = Telemetry(self._database()).devices(key.tenant)
        asked = set(options["device_ids"] or ()) - set(known)
        starts = {
            name
            for name in asked
            if name.endswith(WILDCARD) and any(matches_device(one, [name]) for one in known)
        }
        if missing := sorted(asked - starts):
            raise NotFound(f"There is no telemetry of {', '.join(missing[:10])}")
        if not known:
            raise NotEnoughData("There is no telemetry yet: send it to POST /api/telemetry, or import it")

    def parse_inputs(self, raw: Any) -> RecordBatch:
        """A window's rows, one device's name, or the names of several.

        ``{"rows": […]}`` (or the list itself, oldest first), ``{"device_id": …}`` or ``{"devices": […]}``,
        each with ``coverage`` and ``costs`` (``{"late": …, "early": …}``, for each hour) as wanted.
        """
        request = {"rows": raw} if isinstance(raw, list) else raw
        if not isinstance(request, dict):
            raise InvalidContent(
                'Send {"rows": [{channel: value, …}, …]}, {"device_id": …} or {"devices": […]}'
            )
        wanted = {"coverage": _coverage(request), "costs": _costs(request)}
        ignored = sorted(map(str, set(request) - _KNOWN))
        return RecordBatch([{**asked, **wanted} for asked in _asked(request)], ignored_fields=ignored)

    def resolve_inputs(self, key: ModelKey, batch: RecordBatch) -> RecordBatch:
        """Rows of the devices that are only named: those since their last failure."""
        named = [asked["device_id"] for asked in batch.records if not asked["rows"]]
        if not named:
            return batch
        telemetry = Telemetry(self._database())
        ends = Failures(self._database()).run_ends(key.tenant, named)
        filled = [
            asked if asked["rows"] else {**asked, **_stored(telemetry, key.tenant, asked["device_id"], ends)}
            for asked in batch.records
        ]
        return RecordBatch(filled, batch.warnings, batch.ignored_fields)

    def training_source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
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


def _asked(request: JSON) -> Iterator[JSON]:
    """Each device or window that the request asks about."""
    if request.get("rows") is not None:
        rows, times, dated = _window(request["rows"])
        device = request.get("device_id")
        yield {"device_id": device, "rows": rows, "times": times, "dated": dated}
        return
    devices = request.get("devices", [request.get("device_id")])
    if not isinstance(devices, list) or not 1 <= len(devices) <= MOST_DEVICES:
        raise InvalidContent(f"devices must be a list of 1 to {MOST_DEVICES:,} names")
    faults = []
    for number, device in enumerate(devices, 1):
        try:
            yield {"device_id": parse_text("device_id", device), "rows": [], "times": [], "dated": True}
        except FieldError as wrong:
            faults.append(wrong.to_dict(number))
    if faults:
        raise InvalidRecords(faults)


def _window(rows: Any) -> tuple[list[dict[str, float]], list[int], bool]:
    """Rows of one device, their times, and whether they have any."""
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS:
        raise InvalidContent(f"Send 1 to {MOST_ROWS:,} rows, oldest first")
    found: list[dict[str, float]] = []
    times: list[int] = []
    faults: list[RecordFault] = []
    dated = all(isinstance(row, dict) and row.get("timestamp") for row in rows)
    for number, row in enumerate(rows, 1):
        try:
            if not isinstance(row, dict):
                raise FieldError(None, "type", row, "must be an object of channels and values")
            found.append(parse_values(row))
            times.append(to_microseconds(parse_instant("timestamp", row["timestamp"])) if dated else 0)
        except FieldError as wrong:
            faults.append(wrong.to_dict(number))
    if faults:
        raise InvalidRecords(faults)
    return found, times if dated else _undated(len(rows)), dated


def _undated(count: int) -> list[int]:
    """Rows without times are taken to be far enough apart never to be averaged."""
    return [number * 10_000 * _HOUR for number in range(count)]


def _stored(
    telemetry: Telemetry, tenant: str, device: str, ends: Mapping[str, Sequence[tuple[int, bool]]]
) -> JSON:
    """A device's last rows since its last failure, each with the hours it had run."""
    now = to_microseconds(datetime.now(UTC))
    begun = max((end for end, _ in ends.get(device, ()) if end <= now), default=-(2**62))
    recorded = telemetry.latest(tenant, device, _LATEST_ROWS)
    mine = np.flatnonzero(recorded.times > begun)
    if not len(recorded):
        raise NotFound(f"There is no telemetry of {device!r}")
    if not len(mine):
        raise InvalidContent(
            f"{device!r} has sent no telemetry since its last run ended (a failure, maintenance, replacement)"
        )
    times, first = recorded.times[mine], telemetry.first_after(tenant, device, begun)
    rows = [_known(recorded.channels, row) for row in recorded.values[mine]]
    ages = ((times - first) / _HOUR).tolist()
    return {
        "rows": [{AGE: age, **row} for age, row in zip(ages, rows, strict=True)],
        "times": times.tolist(),
    }


def _known(channels: tuple[str, ...], row: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip(channels, row, strict=True) if np.isfinite(value)}


def _coverage(request: Mapping[str, Any]) -> float | None:
    coverage = request.get("coverage")
    if coverage is None:
        return None
    if not _is_number(coverage) or not 0.5 <= coverage <= 0.99:
        raise InvalidContent("coverage must be a number from 0.5 to 0.99")
    return float(coverage)


def _costs(request: Mapping[str, Any]) -> JSON | None:
    costs = request.get("costs")
    if costs is None:
        return None
    if not isinstance(costs, dict) or set(costs) != {"late", "early"}:
        raise InvalidContent(
            'costs must be {"late": cost of an hour too late, "early": of an hour too early}'
        )
    if not all(_is_number(cost) and 0 < cost < 1e15 for cost in costs.values()):
        raise InvalidContent("costs must be positive numbers")
    return {name: float(cost) for name, cost in costs.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
