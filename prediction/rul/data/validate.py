"""Whether telemetry can be learnt from: gaps, duplicates, ranges, stuck values and clock jumps, by device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import numpy as np

from errors import InvalidContent
from prediction.contract import JSON
from prediction.rul.data.collect import DeviceHistory
from prediction.rul.data.label import MICROSECONDS_AN_HOUR
from storage.devices.telemetry import DeviceTelemetry

GAP_FACTOR: Final = 3.0
STUCK_ROWS: Final = 50
STUCK_SHARE: Final = 0.5
MOST_NAMED: Final = 20
_LATEST: Final = 4_102_444_800_000_000
"""The year 2100 in microseconds: a clock that says more has jumped."""


@dataclass(frozen=True)
class ChannelRange:
    """What values of a channel are possible, in its unit; outside of them a value is an error."""

    unit: str
    low: float
    high: float


CHANNEL_RANGES: Final[Mapping[str, ChannelRange]] = {
    "current_mean": ChannelRange("A", -100_000.0, 100_000.0),
    "vibration_x_mean": ChannelRange("mm/s", -10_000.0, 10_000.0),
    "vibration_y_mean": ChannelRange("mm/s", -10_000.0, 10_000.0),
    "vibration_z_mean": ChannelRange("mm/s", -10_000.0, 10_000.0),
    "temperature_mean": ChannelRange("°C", -273.15, 5_000.0),
}
"""Channels whose meaning is known; of others only that they are finite is asked."""


@dataclass
class DataValidator:
    """Looks at one device after the other and keeps a report of the fleet.

    Parameters
    ----------
    fields : mapping
        What values of known channels are possible.
    horizon_hours : float
        A failure that follows the last row before it by more teaches nothing of the way to it.
    heard, failed : int
        Devices with telemetry, and those of them with a failure.
    unheard : list of str
        Devices of which only events are known.
    fleet : list of dict
        Warnings that are no single device's.
    """

    fields: Mapping[str, ChannelRange] = field(default_factory=lambda: CHANNEL_RANGES)
    horizon_hours: float = 100.0
    devices: dict[str, JSON] = field(default_factory=dict)
    heard: int = 0
    failed: int = 0
    unheard: list[str] = field(default_factory=list)
    fleet: list[JSON] = field(default_factory=list)

    def check(self, collected: DeviceHistory) -> JSON:
        """The findings about one device: ``{"rows", "first", "last", "errors", "warnings"}``."""
        recorded = collected.recorded
        self._count(collected)
        errors = [*_impossible(recorded, self.fields), *_jumps_ahead(collected)]
        warnings = [*_times(recorded), *_stuck(recorded), *_missing(recorded)]
        report = {**_about(recorded), "errors": errors, "warnings": [*warnings, *self._ends(collected)]}
        if report["errors"] or report["warnings"]:
            self.devices[recorded.device_id] = report
        return report

    def warn(self, recorded: DeviceTelemetry, warning: JSON) -> None:
        """Add what shows only beside other devices."""
        nothing = {**_about(recorded), "errors": [], "warnings": []}
        self.devices.setdefault(recorded.device_id, nothing)["warnings"].append(warning)

    def seen(self) -> str:
        """What was there, as a sentence without its end."""
        said = f"There is telemetry of {self.heard} devices in the time asked for (start_date, end_date)"
        if self.heard > self.failed:
            said += f"; {self.heard - self.failed} have no failure after a row of it"
        if self.unheard:
            said += f"; there are events, but no telemetry of {', '.join(self.unheard[:5])}"
        return said + (f" and {more} more" if (more := len(self.unheard) - 5) > 0 else "")

    def report(self) -> JSON:
        """What ``data_validation.json`` says: counts of each finding, those of the whole fleet, and devices.

        Of the devices that have any, those are named whose findings are the rarest.
        """
        counts: Counter[str] = Counter()
        for told in chain(self.fleet, *(_findings(device) for device in self.devices.values())):
            counts[told["code"]] += told["count"]
        return {"valid": not self._wrong(), "counts": dict(counts), "fleet": self.fleet,
                "devices_with_findings": len(self.devices), "devices": self._telling()}  # fmt: skip

    def _telling(self) -> dict[str, JSON]:
        codes = {name: {told["code"] for told in _findings(device)} for name, device in self.devices.items()}
        spread = Counter(code for mine in codes.values() for code in mine)
        wrong = set(self._wrong())
        order = sorted(codes, key=lambda name: (name not in wrong, min(spread[code] for code in codes[name])))
        return {name: self.devices[name] for name in order[:MOST_NAMED]}

    def stop_at_errors(self) -> None:
        """Raise InvalidContent where a device has an error; warnings stop nothing."""
        wrong = self._wrong()
        if wrong:
            sentences = [
                f"{name}: {told['message']}" for name in wrong for told in self.devices[name]["errors"]
            ]
            raise InvalidContent(
                f"The telemetry of {len(wrong)} devices cannot be learnt from: {'; '.join(sentences[:3])}",
                validation_errors=sentences[:MOST_NAMED],
                data_validation=self.report(),
            )

    def _count(self, collected: DeviceHistory) -> None:
        times = collected.recorded.times
        if len(times):
            self.heard += 1
            self.failed += any(failure and end >= times[0] for end, failure in collected.ends)
        else:
            self.unheard.append(collected.recorded.device_id)

    def _ends(self, collected: DeviceHistory) -> Iterator[JSON]:
        times, ends = collected.recorded.times, np.array([time for time, _ in collected.ends], dtype=np.int64)
        if not len(times):
            yield make_finding(
                "no_telemetry", len(ends), f"{len(ends)} events, and no telemetry in the time asked for"
            )
            return
        if early := int((ends < times[0]).sum()):
            yield make_finding("failures_before", early, f"{early} failures came before any telemetry")
        after = ends[ends >= times[0]]
        silent = (after - times[np.searchsorted(times, after, side="right") - 1]) / MICROSECONDS_AN_HOUR
        if late := int((silent > self.horizon_hours).sum()):
            said = (
                f"{late} failures came more than {self.horizon_hours:g} hours after the last row before them"
            )
            yield make_finding("failures_long_after", late, f"{said}: the way to them was not seen")

    def _wrong(self) -> list[str]:
        return [name for name, report in self.devices.items() if report["errors"]]


def make_finding(code: str, count: int, message: str, **facts: float | str) -> JSON:
    """What was found, how often, and as a sentence."""
    return {"code": code, "count": int(count), "message": message, **facts}


def _findings(device: JSON) -> list[JSON]:
    return [*device["errors"], *device["warnings"]]


def _about(recorded: DeviceTelemetry) -> JSON:
    first, last = (int(recorded.times[0]), int(recorded.times[-1])) if len(recorded) else (0, 0)
    return {"rows": len(recorded), "first": first, "last": last}


def _impossible(recorded: DeviceTelemetry, fields: Mapping[str, ChannelRange]) -> Iterator[JSON]:
    for place, name in enumerate(recorded.channels):
        values = recorded.values[:, place]
        there = values[~np.isnan(values)]
        known = fields.get(name, ChannelRange("", -np.inf, np.inf))
        wrong = ~np.isfinite(there) | (there < known.low) | (there > known.high)
        if wrong.any():
            said = (
                f"{name} has {wrong.sum()} values beyond {known.low:g} to {known.high:g} {known.unit}".strip()
            )
            yield make_finding("range", int(wrong.sum()), said, channel=name)


def _jumps_ahead(collected: DeviceHistory) -> Iterator[JSON]:
    ends = np.array([time for time, _ in collected.ends], dtype=np.int64)
    for times, noun in ((collected.recorded.times, "rows"), (ends, "failure events")):
        if ahead := int((times > _LATEST).sum()):
            yield make_finding("clock", ahead, f"{ahead} {noun} lie beyond the year 2100")


def _times(recorded: DeviceTelemetry) -> Iterator[JSON]:
    steps = np.diff(recorded.times)
    doubled = int((steps == 0).sum())
    if doubled:
        yield make_finding(
            "duplicates", doubled, f"{doubled} rows have the time of another; the last to come counts"
        )
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    gaps = steps[steps > GAP_FACTOR * usual] if usual else steps[:0]
    if len(gaps):
        longest = float(gaps.max() / MICROSECONDS_AN_HOUR)
        said = f"{len(gaps)} gaps, the longest of {longest:.3g} hours"
        yield make_finding("gaps", len(gaps), said, longest_hours=longest)
    back = int((np.diff(recorded.ids) < 0).sum())
    if back:
        yield make_finding(
            "clock_jumps", back, f"{back} times rows came with an earlier time than those before them"
        )


def _stuck(recorded: DeviceTelemetry) -> Iterator[JSON]:
    """Channels that change, and yet stand still for half of the rows in one stretch."""
    for place, name in enumerate(recorded.channels):
        values = recorded.values[:, place]
        changes = np.flatnonzero(np.diff(values) != 0)
        edges = np.concatenate([[-1], changes, [len(values) - 1]])
        longest = int(np.diff(edges).max()) if len(values) else 0
        if len(changes) and longest >= max(STUCK_ROWS, STUCK_SHARE * len(values)):
            yield make_finding("stuck", longest, f"{name} does not change for {longest} rows", channel=name)


def _missing(recorded: DeviceTelemetry) -> Iterator[JSON]:
    for place, name in enumerate(recorded.channels):
        lost = int(np.isnan(recorded.values[:, place]).sum())
        if lost:
            yield make_finding("missing", lost, f"{name} is missing in {lost} rows", channel=name)


def drop_duplicates(recorded: DeviceTelemetry) -> DeviceTelemetry:
    """Of rows with the same time the last that came."""
    last: Sequence[bool] = np.append(np.diff(recorded.times) != 0, True) if len(recorded) else []  # type: ignore[assignment]
    kept = np.asarray(last, dtype=bool)
    return DeviceTelemetry(
        recorded.device_id, recorded.ids[kept], recorded.times[kept], recorded.channels, recorded.values[kept]
    )
