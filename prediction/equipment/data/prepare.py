"""From an asset's stored telemetry to its normal running time, split by time, and its labelled events."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.contract import Options, PreparedData, Resources, TrainingSource
from prediction.equipment.data.periods import FailurePeriod, find_normal_rows, list_events
from prediction.equipment.model.limits import EPISODE_ROWS
from prediction.equipment.model.preprocessor import ChannelLayout, RunningRows
from prediction.equipment.model.rows import Mask, estimate_interval
from prediction.equipment.off_time import parse_off_rule
from prediction.records.fields import parse_instant, to_microseconds
from prediction.splits import SplitCertificate, to_intervals
from prediction.telemetry import join_duplicates
from storage.db.database import Database
from storage.devices.failures import Failures
from storage.devices.telemetry import DeviceTelemetry, Telemetry

SETTING: Final = "setting"
# The latest rows that a model learns from, so that memory does not grow with the years.
MAX_ROWS: Final = 200_000
MIN_NORMAL_ROWS: Final = 300
# Several rows for each channel, or the covariance says nothing.
_MIN_ROWS_PER_CHANNEL: Final = 5
_SHARES: Final = (0.6, 0.8)
# Rows left out between two parts: neighbours in time are alike.
GAP_ROWS: Final = EPISODE_ROWS
# A channel with values in fewer rows says nothing about the asset.
_MIN_PRESENT_SHARE: Final = 0.5


class EventRecord(TypedDict):
    """A labelled failure, with RFC 3339 times."""

    start: str
    end: str


class AssetFacts(TypedDict):
    """What the manifest says about the data of an asset.

    ``last_time`` is ``last`` in microseconds since 1970, ``telemetry_up_to`` the watermark of the stored telemetry
    that was read, and ``older_rows`` the number of rows before those that were read.
    """

    device_id: str
    first: str
    last: str
    last_time: int
    rows: int
    off_rows: int
    left_out_rows: int
    normal_rows: int
    interval_seconds: float
    channels: list[str]
    settings: list[str]
    channels_left_out: list[str]
    events: list[EventRecord]
    telemetry_up_to: NotRequired[int]
    older_rows: NotRequired[int]


@dataclass(frozen=True, kw_only=True)
class PreparedAsset(PreparedData):
    """An asset's rows and the places of its parts.

    Parameters
    ----------
    telemetry : DeviceTelemetry
        All rows of the period, in order of time.
    running : RunningRows
        Those while the asset runs.
    normal : int64, shape (n,)
        Places of normal rows in ``running``.
    train, validation, test : int64
        Places in ``running``: parts of ``normal`` with gaps between them.
    events : sequence of FailurePeriod
        With at least one running row.
    """

    device_id: str
    telemetry: DeviceTelemetry
    layout: ChannelLayout
    running: RunningRows
    normal: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    events: Sequence[FailurePeriod]
    facts: AssetFacts

    @property
    def past(self) -> NDArray[np.int64]:
        """Return the places of everything before the test part."""
        return np.concatenate([self.train, self.validation])

    @property
    def interval_seconds(self) -> float:
        """Return the usual time between rows."""
        return self.layout.interval / 1e6


def prepare(source: TrainingSource, options: Options, resources: Resources) -> PreparedAsset:
    """Read the telemetry and failures of an asset.

    Raises
    ------
    InvalidContent
        An option names a channel that the asset does not have.
    NotEnoughData
        The normal running time, or the channels, are too few.
    """
    url, run_dir = source["database"], Path(source["run_dir"])
    database = resources.get_or_create(f"database {url}", lambda: Database(url, run_dir))
    device_id = options["device_id"] or source["name"]
    telemetry, older_rows = _read(database, source, device_id, options)
    ends = Failures(database).run_ends(source["tenant"], [device_id]).get(device_id, [])
    suspected = [FailurePeriod(first, last) for first, last in source["suspected"]]
    prepared = prepare_telemetry(telemetry, options, list_events(options, ends), suspected)
    facts: AssetFacts = {
        **prepared.facts,
        "telemetry_up_to": source["telemetry_up_to"],
        "older_rows": older_rows,
    }
    warnings = []
    if older_rows:
        warnings.append(
            f"Only the latest {MAX_ROWS:,} rows of {device_id} were read: {older_rows:,} older ones are left out; "
            "start_date or lookback_days choose the period"
        )
    return replace(prepared, facts=facts, warnings=warnings)


def prepare_telemetry(
    telemetry: DeviceTelemetry,
    options: Options,
    events: Sequence[FailurePeriod],
    suspected: Sequence[FailurePeriod] = (),
) -> PreparedAsset:
    """Split telemetry, see `prepare`."""
    layout = _choose_layout(telemetry, options)
    running = layout.take_running_rows(telemetry)
    is_normal = find_normal_rows(telemetry, options, events, suspected)
    normal = np.flatnonzero(is_normal[running.positions])
    _require_enough(telemetry, layout, is_normal, len(normal), options)
    layout, running = _leave_out_constant(telemetry, layout, running, normal)
    edges = [0, *(round(share * len(normal)) for share in _SHARES), len(normal)]
    train, validation, test = (
        normal[start : end - gap]
        for start, end, gap in zip(edges[:-1], edges[1:], (GAP_ROWS, GAP_ROWS, 0), strict=True)
    )
    events = [
        event for event in events if ((running.times >= event.start) & (running.times <= event.end)).any()
    ]
    ids = [to_intervals(running.positions[part].tolist()) for part in (train, validation, test)]
    return PreparedAsset(
        certificate=SplitCertificate("row", "time", ids[0], ids[1], ids[2], GAP_ROWS),
        fingerprint=_fingerprint(telemetry, is_normal, layout),
        rows=len(normal),
        facts=_describe(telemetry, layout, running, normal, events),
        device_id=telemetry.device_id,
        telemetry=telemetry,
        layout=layout,
        running=running,
        normal=normal,
        train=train,
        validation=validation,
        test=test,
        events=events,
    )


def _read(
    database: Database, source: TrainingSource, device_id: str, options: Options
) -> tuple[DeviceTelemetry, int]:
    """Return the latest rows of the period of the options, and how many older ones are left out."""
    start, end = (
        None if options[name] is None else to_microseconds(parse_instant(name, options[name]))
        for name in ("start_date", "end_date")
    )
    store, tenant = Telemetry(database), source["tenant"]
    if options["lookback_days"] is not None and (span := store.span(tenant, device_id)) is not None:
        last = span[1] if end is None else min(span[1], end)
        start = max(start or -(2**62), last - round(options["lookback_days"] * 86_400e6))
    up_to = source["telemetry_up_to"]
    telemetry = store.latest(tenant, device_id, MAX_ROWS, start=start, end=end, up_to=up_to)
    older_rows = 0
    if len(telemetry) == MAX_ROWS:
        older_rows = store.count_rows(tenant, device_id, start=start, end=end, up_to=up_to) - MAX_ROWS
    return join_duplicates(telemetry), older_rows


def _choose_layout(telemetry: DeviceTelemetry, options: Options) -> ChannelLayout:
    """Return the channels that are watched, of those with values in at least half of the rows."""
    if not len(telemetry):
        raise NotEnoughData(
            f"There is no telemetry of {telemetry.device_id!r} in this period: send it to POST /api/telemetry"
        )
    present = np.isfinite(telemetry.values).mean(axis=0) >= _MIN_PRESENT_SHARE
    usable = [name for name, is_present in zip(telemetry.channels, present, strict=True) if is_present]
    settings = options["setting_channels"]
    if settings is None:
        settings = [name for name in usable if SETTING in name.lower()]
    channels = options["channels"] or [name for name in usable if name not in settings]
    asked = {
        "channels": options["channels"] or (),
        "setting_channels": options["setting_channels"] or (),
        "off_when": parse_off_rule(options["off_when"]).channels,
    }
    for option, names in asked.items():
        if missing := sorted(set(names) - set(telemetry.channels)):
            raise InvalidContent(
                f"{option} names {', '.join(missing[:10])}, which {telemetry.device_id} does not have; "
                f"it has: {', '.join(telemetry.channels[:50])}"
            )
    return ChannelLayout(
        list(channels), sorted(settings), options["off_when"], estimate_interval(telemetry.times)
    )


def _require_enough(
    telemetry: DeviceTelemetry, layout: ChannelLayout, is_normal: Mask, count: int, options: Options
) -> None:
    needed = max(MIN_NORMAL_ROWS, _MIN_ROWS_PER_CHANNEL * len(layout.channels))
    if count >= needed:
        return
    off = int(layout.find_off_time(telemetry).sum())
    because = [f"{off:,} are off time by {options['off_when']}"] if off else []
    if left_out := int((~is_normal).sum()):
        because.append(
            f"{left_out:,} lie in labelled periods, in anomalies without a verdict or outside of normal_periods"
        )
    reasons = f": {' and '.join(because)}" if because else ""
    raise NotEnoughData(
        f"{telemetry.device_id} has {count:,} rows of normal running time, and {len(layout.channels)} channels "
        f"need at least {needed:,}; {len(telemetry):,} rows were read{reasons}"
    )


def _leave_out_constant(
    telemetry: DeviceTelemetry, layout: ChannelLayout, running: RunningRows, normal: NDArray[np.int64]
) -> tuple[ChannelLayout, RunningRows]:
    """Return the layout without channels that never change in normal time: they have no usual spread."""
    values = running.channels[normal]
    spread, size = np.nanstd(values, axis=0), np.nanmax(np.abs(values), axis=0)
    is_varying = np.nan_to_num(spread) > 1e-9 * np.maximum(1e-9, np.nan_to_num(size))
    names = [name for name, varies in zip(layout.channels, is_varying, strict=True) if varies]
    if len(names) < 2:
        raise NotEnoughData(
            f"{telemetry.device_id} has {len(names)} channels that change in normal running time, and a model of an "
            "asset compares at least 2; for a single channel, train a sensor's anomaly model"
        )
    if len(names) == len(layout.channels):
        return layout, running
    narrower = ChannelLayout(names, layout.settings, layout.off_when, layout.interval)
    return narrower, narrower.take_running_rows(telemetry)


def _fingerprint(telemetry: DeviceTelemetry, is_normal: Mask, layout: ChannelLayout) -> str:
    digest = hashlib.sha256(repr((telemetry.device_id, telemetry.channels, layout)).encode())
    for array in (telemetry.times, telemetry.values, is_normal):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _describe(
    telemetry: DeviceTelemetry,
    layout: ChannelLayout,
    running: RunningRows,
    normal: NDArray[np.int64],
    events: Sequence[FailurePeriod],
) -> AssetFacts:
    watched = {*layout.channels, *layout.settings}
    return {
        "device_id": telemetry.device_id,
        "first": _format_time(telemetry.times[0]),
        "last": _format_time(telemetry.times[-1]),
        "last_time": int(telemetry.times[-1]),
        "rows": len(telemetry),
        "off_rows": len(telemetry) - len(running),
        "left_out_rows": len(running) - len(normal),
        "normal_rows": len(normal),
        "interval_seconds": layout.interval / 1e6,
        "channels": list(layout.channels),
        "settings": list(layout.settings),
        "channels_left_out": [name for name in telemetry.channels if name not in watched],
        "events": [{"start": _format_time(e.start), "end": _format_time(e.end)} for e in events],
    }


def _format_time(microseconds: int) -> str:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC).isoformat(timespec="seconds")
