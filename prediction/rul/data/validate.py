"""Validation of telemetry by device: gaps, duplicates, ranges, stuck values and clock jumps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NotRequired, TypedDict

import numpy as np

from errors import InvalidContent
from prediction.rul.data.collect import DeviceHistory
from prediction.rul.data.label import MICROSECONDS_PER_HOUR
from storage.devices.telemetry import DeviceTelemetry

# A pause longer than three usual steps is a gap; a channel that stands still for half of the rows is stuck.
GAP_FACTOR: Final = 3.0
STUCK_ROWS: Final = 50
STUCK_SHARE: Final = 0.5
MAX_NAMED: Final = 20
# The year 2100 in microseconds: a clock beyond it has jumped.
_MAX_TIME: Final = 4_102_444_800_000_000


@dataclass(frozen=True)
class ChannelRange:
    """The possible values of a channel, in its unit; values outside of them are errors."""

    unit: str
    low: float
    high: float


# Channels whose meaning is known; values of others only have to be finite.
CHANNEL_RANGES: Final[Mapping[str, ChannelRange]] = {
    "current_mean": ChannelRange("A", -100_000.0, 100_000.0),
    "vibration_x_mean": ChannelRange("mm/s", -10_000.0, 10_000.0),
    "vibration_y_mean": ChannelRange("mm/s", -10_000.0, 10_000.0),
    "vibration_z_mean": ChannelRange("mm/s", -10_000.0, 10_000.0),
    "temperature_mean": ChannelRange("°C", -273.15, 5_000.0),
}


class ValidationFinding(TypedDict):
    """A finding, how often it occurs, and a sentence."""

    code: str
    count: int
    message: str
    channel: NotRequired[str]
    longest_hours: NotRequired[float]


class DeviceReport(TypedDict):
    """The findings about one device; ``first`` and ``last`` are microseconds since 1970."""

    rows: int
    first: int
    last: int
    errors: list[ValidationFinding]
    warnings: list[ValidationFinding]


class FleetValidation(TypedDict):
    """The findings about a fleet: how often each code occurs, and what concerns the fleet as a whole."""

    valid: bool
    counts: dict[str, int]
    fleet: list[ValidationFinding]
    devices_with_findings: int


class ValidationReport(FleetValidation):
    """The content of ``data_validation.json``: of the devices with findings, those with the rarest ones."""

    devices: dict[str, DeviceReport]


@dataclass
class DataValidator:
    """Checks one device after the other and collects a report of the fleet.

    Parameters
    ----------
    ranges : mapping
        The possible values of known channels.
    horizon_hours : float
        A failure that follows the row before it by more teaches nothing about the way to it.
    num_devices, num_failed : int
        Devices with telemetry, and those of them with a failure.
    without_telemetry : list of str
        Devices with events only.
    fleet : list of ValidationFinding
        Warnings about the fleet as a whole.
    """

    ranges: Mapping[str, ChannelRange] = field(default_factory=lambda: CHANNEL_RANGES)
    horizon_hours: float = 100.0
    devices: dict[str, DeviceReport] = field(default_factory=dict)
    num_devices: int = 0
    num_failed: int = 0
    without_telemetry: list[str] = field(default_factory=list)
    fleet: list[ValidationFinding] = field(default_factory=list)

    def check(self, history: DeviceHistory) -> DeviceReport:
        """Check one device and return its findings."""
        telemetry, times = history.telemetry, history.telemetry.times
        if len(times):
            self.num_devices += 1
            self.num_failed += any(failure and end >= times[0] for end, failure in history.ends)
        else:
            self.without_telemetry.append(telemetry.device_id)
        report = _empty_report(telemetry)
        report["errors"] += [*_check_ranges(telemetry, self.ranges), *_check_clock(history)]
        report["warnings"] += [
            *_check_times(telemetry),
            *_check_stuck(telemetry),
            *_check_missing(telemetry),
            *self._check_ends(history),
        ]
        if report["errors"] or report["warnings"]:
            self.devices[telemetry.device_id] = report
        return report

    def warn(self, telemetry: DeviceTelemetry, warning: ValidationFinding) -> None:
        """Add a warning that only shows in comparison with other devices."""
        self.devices.setdefault(telemetry.device_id, _empty_report(telemetry))["warnings"].append(warning)

    def describe_fleet(self) -> str:
        """Return a summary of the data as a sentence without a full stop."""
        summary = (
            f"There is telemetry of {self.num_devices} devices in the time asked for (start_date, end_date)"
        )
        if self.num_devices > self.num_failed:
            summary += f"; {self.num_devices - self.num_failed} have no failure after a row of it"
        if self.without_telemetry:
            summary += f"; there are events, but no telemetry of {', '.join(self.without_telemetry[:5])}"
        more = len(self.without_telemetry) - 5
        return summary + (f" and {more} more" if more > 0 else "")

    def report(self) -> ValidationReport:
        """Return ``data_validation.json``: counts of each finding, findings of the fleet, and devices.

        Of the devices with findings, those with the rarest findings are included.
        """
        counts: Counter[str] = Counter()
        for finding in chain(self.fleet, *(_all_findings(report) for report in self.devices.values())):
            counts[finding["code"]] += finding["count"]
        codes = {
            name: {finding["code"] for finding in _all_findings(report)}
            for name, report in self.devices.items()
        }
        spread = Counter(code for own in codes.values() for code in own)
        invalid = set(self._invalid_devices())
        order = sorted(
            codes, key=lambda name: (name not in invalid, min(spread[code] for code in codes[name]))
        )
        return {
            "valid": not invalid,
            "counts": dict(counts),
            "fleet": self.fleet,
            "devices_with_findings": len(self.devices),
            "devices": {name: self.devices[name] for name in order[:MAX_NAMED]},
        }

    def raise_errors(self) -> None:
        """Raise InvalidContent where a device has an error; warnings stop nothing."""
        invalid = self._invalid_devices()
        if invalid:
            sentences = [
                f"{name}: {finding['message']}"
                for name in invalid
                for finding in self.devices[name]["errors"]
            ]
            raise InvalidContent(
                f"The telemetry of {len(invalid)} devices cannot be learnt from: {'; '.join(sentences[:3])}",
                validation_errors=sentences[:MAX_NAMED],
                data_validation=self.report(),
            )

    def _check_ends(self, history: DeviceHistory) -> Iterator[ValidationFinding]:
        times = history.telemetry.times
        ends = np.array([time for time, _ in history.ends], dtype=np.int64)
        if not len(times):
            message = f"{len(ends)} events, and no telemetry in the time asked for"
            yield make_finding("no_telemetry", len(ends), message)
            return
        if before := int((ends < times[0]).sum()):
            yield make_finding("failures_before", before, f"{before} failures came before any telemetry")
        after = ends[ends >= times[0]]
        previous = times[np.searchsorted(times, after, side="right") - 1]
        silent_hours = (after - previous) / MICROSECONDS_PER_HOUR
        if late := int((silent_hours > self.horizon_hours).sum()):
            message = (
                f"{late} failures came more than {self.horizon_hours:g} hours after the last row before them"
                ": the way to them was not seen"
            )
            yield make_finding("failures_long_after", late, message)

    def _invalid_devices(self) -> list[str]:
        return [name for name, report in self.devices.items() if report["errors"]]


def make_finding(code: str, count: int, message: str) -> ValidationFinding:
    """Return a finding."""
    return {"code": code, "count": int(count), "message": message}


def _empty_report(telemetry: DeviceTelemetry) -> DeviceReport:
    times = telemetry.times
    first, last = (int(times[0]), int(times[-1])) if len(times) else (0, 0)
    return {"rows": len(times), "first": first, "last": last, "errors": [], "warnings": []}


def _all_findings(report: DeviceReport) -> list[ValidationFinding]:
    return [*report["errors"], *report["warnings"]]


def _check_ranges(
    telemetry: DeviceTelemetry, ranges: Mapping[str, ChannelRange]
) -> Iterator[ValidationFinding]:
    for name, column in zip(telemetry.channels, telemetry.values.T, strict=True):
        values = column[~np.isnan(column)]
        possible = ranges.get(name, ChannelRange("", -np.inf, np.inf))
        wrong = int((~np.isfinite(values) | (values < possible.low) | (values > possible.high)).sum())
        if wrong:
            limits = f"{possible.low:g} to {possible.high:g} {possible.unit}".strip()
            yield {
                **make_finding("range", wrong, f"{name} has {wrong} values beyond {limits}"),
                "channel": name,
            }


def _check_clock(history: DeviceHistory) -> Iterator[ValidationFinding]:
    ends = np.array([time for time, _ in history.ends], dtype=np.int64)
    for times, noun in ((history.telemetry.times, "rows"), (ends, "failure events")):
        if ahead := int((times > _MAX_TIME).sum()):
            yield make_finding("clock", ahead, f"{ahead} {noun} lie beyond the year 2100")


def _check_times(telemetry: DeviceTelemetry) -> Iterator[ValidationFinding]:
    steps = np.diff(telemetry.times)
    if duplicates := int((steps == 0).sum()):
        message = f"{duplicates} rows have the time of another; the last to come counts"
        yield make_finding("duplicates", duplicates, message)
    usual_step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    gaps = steps[steps > GAP_FACTOR * usual_step] if usual_step else steps[:0]
    if len(gaps):
        longest = float(gaps.max() / MICROSECONDS_PER_HOUR)
        message = f"{len(gaps)} gaps, the longest of {longest:.3g} hours"
        yield {**make_finding("gaps", len(gaps), message), "longest_hours": longest}
    # Row ids count arrivals: in order of time they fall where a clock was set back.
    if jumps := int((np.diff(telemetry.ids) < 0).sum()):
        message = f"{jumps} times rows came with an earlier time than those before them"
        yield make_finding("clock_jumps", jumps, message)


def _check_stuck(telemetry: DeviceTelemetry) -> Iterator[ValidationFinding]:
    """Find channels that change, and yet stand still for half of the rows in one stretch."""
    for name, values in zip(telemetry.channels, telemetry.values.T, strict=True):
        changes = np.flatnonzero(np.diff(values) != 0)
        edges = np.concatenate([[-1], changes, [len(values) - 1]])
        longest = int(np.diff(edges).max()) if len(values) else 0
        if len(changes) and longest >= max(STUCK_ROWS, STUCK_SHARE * len(values)):
            message = f"{name} does not change for {longest} rows"
            yield {**make_finding("stuck", longest, message), "channel": name}


def _check_missing(telemetry: DeviceTelemetry) -> Iterator[ValidationFinding]:
    for name, values in zip(telemetry.channels, telemetry.values.T, strict=True):
        if missing := int(np.isnan(values).sum()):
            message = f"{name} is missing in {missing} rows"
            yield {**make_finding("missing", missing, message), "channel": name}
