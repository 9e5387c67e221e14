"""Telemetry with which a model would look better than it is: a device under two names, a channel that knows the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.rul.data.collect import AGE
from prediction.rul.data.label import LabelledDevice
from storage.devices.telemetry import DeviceTelemetry

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Rows at the start and at the end of runs in which copies are sought; fewer could be alike by chance.
_TWIN_ROWS: Final = 32
_MIN_TWIN_ROWS: Final = 16
# Rows of two devices differ by more than those of one device from row to row; those of a copy by at most this share.
_TWIN_SHARE: Final = 0.2
# Of the channels that change: those that seldom do may be hidden by the noise of a copy.
_TWIN_CHANNELS: Final = 0.8
_ROUNDING: Final = 1e-9
_CHUNK: Final = 512
# Pairs of a block for which comparing row by row costs less than another channel of all pairs.
_MAX_PAIRS: Final = 8
# Rounding of squared distances between standardised blocks in float32.
_FLOAT32_SLACK: Final = 1e-3
_FAR: Final = 1e9
# Where so many pairs are found, a mistake in the names is plain.
MAX_TWIN_PAIRS: Final = 20
# A channel on a straight line to the failure. Of sensors on C-MAPSS the best has .9 in the last 125 cycles.
_MIN_R2: Final = 0.99
_MIN_COUNTDOWN_SHARE: Final = 0.8
_MIN_COUNTDOWN_DEVICES: Final = 3
_MIN_COUNTDOWN_ROWS: Final = 8
# At the failure, a clock shows how long a device lived, and a countdown the same for all.
_MAX_SPREAD_SHARE: Final = 0.1


@dataclass(frozen=True)
class Countdown:
    """A channel that runs to the same value at every failure.

    Parameters
    ----------
    devices : int
        Devices on whose last hours it is a straight line.
    r2 : float
        The median over these devices.
    """

    channel: str
    devices: int
    r2: float


def refuse_leaks(
    devices: Sequence[LabelledDevice],
    horizon_hours: float,
    excluded: Sequence[str],
    trusted: Sequence[str],
    settings: Sequence[str] = (),
) -> None:
    """Raise an error that names copies of a device, or channels that count down to the failure.

    Parameters
    ----------
    excluded : sequence of str
        Channels that no model sees.
    trusted : sequence of str
        Channels that are measured, even if they look like a countdown or are the same on several devices.
    settings : sequence of str
        Channels that describe how a device is run: devices with the same programme have the same.

    Raises
    ------
    InvalidContent
        There are such devices or channels.
    """
    shared = set.intersection(*(set(device.telemetry.channels) for device in devices))
    channels = shared - {AGE, *excluded, *trusted}
    if twins := find_twins(devices, sorted(channels - {*settings})):
        raise InvalidContent(_describe_twins(twins))
    if countdowns := find_countdowns(devices, sorted(channels), horizon_hours):
        raise InvalidContent(_describe_countdowns(countdowns))


def refuse_unknown_channels(devices: Iterable[LabelledDevice], **lists: Sequence[str]) -> None:
    """Raise an error where an option names a channel that no device has: a mistyped name would change nothing.

    Parameters
    ----------
    **lists
        Channels, by the option that names them.

    Raises
    ------
    InvalidContent
        There is such a name.
    """
    known = {name for device in devices for name in device.telemetry.channels}
    for option, names in lists.items():
        if unknown := sorted({*names} - known):
            quoted, existing = ", ".join(map(repr, unknown)), ", ".join(sorted(known))
            raise InvalidContent(f"{option} names {quoted}, which no device has; the channels are {existing}")


def _describe_twins(twins: Sequence[tuple[str, str]]) -> str:
    (first, second), more = twins[0], len(twins) - 1
    least = "at least " if len(twins) == MAX_TWIN_PAIRS else ""
    further = f" (and {least}{more} more pair{'s' if more > 1 else ''})" if more else ""
    return (
        f"{first!r} and {second!r} have the same telemetry{further}, as where one device is stored under two names: "
        "a model would be judged on what it has learnt. If they are two devices, name the channels that they share "
        f"in trusted_channels; if they are one, leave {second!r} out of device_ids, or delete its telemetry (DELETE "
        f"/api/telemetry?device_id={quote(second, safe='')})"
    )


def _describe_countdowns(countdowns: Sequence[Countdown]) -> str:
    figures = ", ".join(
        f"{countdown.channel!r} ({countdown.devices} devices, R² {countdown.r2:.3f})"
        for countdown in countdowns
    )
    verb, channel = ("runs", "it") if len(countdowns) == 1 else ("run", "a channel")
    return (
        f"{figures} {verb} in a straight line to the same value at every failure, as a value does that is computed "
        f"from the time of the failure, which nobody knows while a device runs. Name {channel} in trusted_channels "
        "if it is measured, or else in exclude_channels"
    )


def find_twins(devices: Sequence[LabelledDevice], channels: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of devices of which one run begins or ends with the same rows, up to small noise.

    Rows of different devices differ by their noise, also where the devices work and wear alike. The search ends
    after `MAX_TWIN_PAIRS` pairs.
    """
    runs = _Runs.from_devices(devices, channels)
    pairs: set[tuple[int, int]] = set()
    candidates = ((at_end, *pair) for at_end in (False, True) for pair in runs.find_alike(at_end))
    for at_end, first, second in candidates:
        owners = int(runs.owners[first]), int(runs.owners[second])
        # Runs that only begin alike, as in a simulation without noise, are no copies.
        if owners not in pairs and runs.are_copies(first, second, at_end):
            pairs.add(owners)
        if len(pairs) == MAX_TWIN_PAIRS:
            break
    names = [device.telemetry.device_id for device in devices]
    return [(names[first], names[second]) for first, second in sorted(pairs)]


def find_countdowns(
    devices: Sequence[LabelledDevice], channels: Sequence[str], horizon_hours: float
) -> list[Countdown]:
    """Return the channels that are a straight line over the last hours of most devices, to the same value.

    A clock is a straight line, too; but at the failure it shows how long a device lived.
    """
    runs = []
    for device in devices:
        values, labels = _select_columns(device.telemetry, channels), device.labels
        for rows in device.runs():
            near = rows[labels.hours_left[rows] <= horizon_hours]
            if len(near) >= _MIN_COUNTDOWN_ROWS and not labels.censored[rows[0]]:
                lines = _fit_lines(labels.hours_left[near], values[near])
                runs.append((device.telemetry.device_id, labels.hours_left[rows[0]], lines))
    if len({name for name, _, _ in runs}) < _MIN_COUNTDOWN_DEVICES:
        return []
    lives = np.array([life for _, life, _ in runs])
    slopes, ends, r2 = np.stack([lines for _, _, lines in runs], axis=1)
    is_line = r2 >= _MIN_R2
    spread = np.abs(slopes).mean(axis=0) * lives.std()
    found = (is_line.mean(axis=0) >= _MIN_COUNTDOWN_SHARE) & (ends.std(axis=0) <= _MAX_SPREAD_SHARE * spread)
    # Equal lives tell a clock from a countdown as little as they tell age from remaining life.
    found &= spread > 0
    countdowns = []
    for column in np.flatnonzero(found).tolist():
        owners = {name for (name, _, _), line in zip(runs, is_line[:, column], strict=True) if line}
        if len(owners) >= _MIN_COUNTDOWN_DEVICES:
            countdowns.append(Countdown(channels[column], len(owners), float(np.median(r2[:, column]))))
    return countdowns


def _fit_lines(hours_left: Floats, values: Floats) -> Floats:
    """Return slope, value at the failure and R² of each column, shape (3, columns); 0 of a constant column."""
    is_complete = np.isfinite(values).all(axis=0)
    filled = np.where(is_complete, values, 0.0)
    hours = hours_left - hours_left.mean()
    means = filled.mean(axis=0)
    slopes = hours @ (filled - means) / max(float(hours @ hours), 1e-12)
    spread = ((filled - means) ** 2).sum(axis=0)
    explained = slopes**2 * float(hours @ hours)
    r2 = np.divide(explained, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.stack([slopes, means - slopes * hours_left.mean(), r2])


@dataclass(frozen=True)
class _Runs:
    """The rows of all runs that are long enough to be compared, one run after the other.

    Parameters
    ----------
    values : float64, shape (rows, channels)
        Of the channels that change, standardised; missing values are 0.
    starts, lengths, owners : int64, shape (runs,)
        First row, number of rows and device of each run; runs of a device stand together.
    block : int
        Rows that are compared at the start and at the end of each run.
    """

    values: Floats
    starts: Integers
    lengths: Integers
    owners: Integers
    block: int

    @classmethod
    def from_devices(cls, devices: Sequence[LabelledDevice], channels: Sequence[str]) -> _Runs:
        """Return the runs of all devices."""
        parts: list[Floats] = [np.empty((0, len(channels)))]
        owners: list[int] = []
        for number, device in enumerate(devices):
            columns = _select_columns(device.telemetry, channels)
            long = [rows for rows in device.runs() if len(rows) >= _MIN_TWIN_ROWS]
            parts += [columns[rows] for rows in long]
            owners += [number] * len(long)
        rows = np.concatenate(parts)
        rows = rows[:, np.isfinite(rows).any(axis=0)]
        rows = rows[:, np.nanstd(rows, axis=0) > 0]
        values = np.nan_to_num((rows - np.nanmean(rows, axis=0)) / np.nanstd(rows, axis=0))
        lengths = np.array([len(part) for part in parts[1:]], dtype=np.int64)
        block = min(_TWIN_ROWS, int(lengths.min(initial=_TWIN_ROWS)))
        return cls(values, np.cumsum(lengths) - lengths, lengths, np.array(owners, dtype=np.int64), block)

    def find_alike(self, at_end: bool) -> Iterator[tuple[int, int]]:
        """Yield pairs of runs of different devices that begin (or end) alike, as at the other end of their overlap."""
        corners = self.starts + self.lengths - self.block if at_end else self.starts
        blocks = self._select_blocks(corners)
        # In a window where hardly anything changes, as of a machine at rest, devices look alike.
        num_moving = (np.diff(blocks, axis=1) != 0).any(axis=2).sum(axis=1)
        moving = np.flatnonzero(num_moving >= self.block // 2)
        for near in _find_near_blocks(blocks[moving]):
            for start in range(0, near.shape[1], _CHUNK):
                first, second = moving[near[:, start : start + _CHUNK]]
                overlap = np.minimum(self.lengths[first], self.lengths[second])
                shift = self.block - overlap if at_end else overlap - self.block
                num_near, num_telling = _count_near(blocks[first], blocks[second])
                num_near_far, num_telling_far = _count_near(
                    self._select_blocks(corners[first] + shift), self._select_blocks(corners[second] + shift)
                )
                is_alike = (
                    (self.owners[first] != self.owners[second])
                    & (num_near >= np.maximum(1, _TWIN_CHANNELS * num_telling))
                    & (num_near_far >= _TWIN_CHANNELS * num_telling_far)
                )
                yield from zip(first[is_alike].tolist(), second[is_alike].tolist(), strict=True)

    def are_copies(self, first: int, second: int, at_end: bool) -> bool:
        """Return whether all rows of the shorter of two runs are alike in both."""
        overlap = min(self.lengths[first], self.lengths[second])
        starts = [
            self.starts[run] + (self.lengths[run] - overlap if at_end else 0) for run in (first, second)
        ]
        num_near, num_telling = _count_near(
            *(self.values[np.newaxis, start : start + overlap] for start in starts)
        )
        return bool(num_near[0] >= max(1, _TWIN_CHANNELS * num_telling[0]))

    def _select_blocks(self, starts: Integers) -> Floats:
        """Return the blocks that begin at these rows, shape (blocks, rows, channels)."""
        blocks: Floats = self.values[starts[:, np.newaxis] + np.arange(self.block)]
        return blocks


def _measure_noise(blocks: Floats) -> Floats:
    """Return the size of the changes from row to row, shape (blocks, channels)."""
    noise: Floats = np.sqrt((np.diff(blocks, axis=1) ** 2).mean(axis=1))
    return noise


def _count_near(first: Floats, second: Floats) -> tuple[Integers, Integers]:
    """Return in how many channels pairs of blocks differ by less than their own changes, and how many tell it.

    A channel that stands still in one of the two tells nothing.
    """
    length = first.shape[1]
    smaller = np.minimum(_measure_noise(first), _measure_noise(second))
    bound = length * ((_TWIN_SHARE * smaller) ** 2 + _ROUNDING)
    is_telling = smaller > 0
    is_near = is_telling & (((first - second) ** 2).sum(axis=1) <= bound)
    return is_near.sum(axis=1), is_telling.sum(axis=1)


def _find_near_blocks(blocks: Floats) -> Iterator[Integers]:
    """Yield positions of pairs of blocks that may be copies, shape (2, pairs): all that are, and few others.

    For thousands of devices: the distances of all pairs in one channel are one product of matrices, and most
    pairs are ruled out by one channel more than a copy may differ in.
    """
    count, length, num_channels = blocks.shape
    max_differing = math.floor((1 - _TWIN_CHANNELS) * num_channels + 1e-9)
    noise = _measure_noise(blocks)
    order = np.argsort(-(noise > 0).sum(axis=0), kind="stable").tolist()
    squares = (blocks**2).sum(axis=1)
    bounds = length * ((_TWIN_SHARE * noise) ** 2 + _ROUNDING) + _FLOAT32_SLACK
    # A channel that stands still in a block rules out nothing.
    lowered = np.where(noise > 0, squares - bounds, -_FAR).astype(np.float32)
    raised = np.where(noise > 0, squares, -_FAR).astype(np.float32)
    for start in range(0, count, _CHUNK):
        own, others = slice(start, start + _CHUNK), slice(start, None)
        num_differing = np.zeros((len(blocks[own]), count - start), dtype=np.int16)
        for position, channel in enumerate(order):
            values = blocks[others, :, channel].astype(np.float32)
            excess = -2 * values[:_CHUNK] @ values.T
            excess += lowered[own, channel][:, np.newaxis]
            excess += raised[others, channel]
            num_differing += excess > 0
            if position >= max_differing and (num_differing <= max_differing).sum() <= _MAX_PAIRS * _CHUNK:
                break
        yield np.argwhere(np.triu(num_differing <= max_differing, 1)).T + start


def _select_columns(telemetry: DeviceTelemetry, names: Sequence[str]) -> Floats:
    """Return the values of these channels, shape (rows, names)."""
    return telemetry.values[:, [telemetry.channels.index(name) for name in names]]
