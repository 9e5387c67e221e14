"""Telemetry with which a model would look better than it is: a device under two names, a channel that knows the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.rul.data.collect import AGE
from prediction.rul.data.label import LabelledDevice
from storage.devices.telemetry import DeviceTelemetry

Floats = NDArray[np.float64]

# Rows at the start and at the end of runs in which copies are sought; fewer could be alike by chance.
_TWIN_ROWS: Final = 32
_MIN_TWIN_ROWS: Final = 16
# Rows of two devices differ by more than those of one device from row to row; those of a copy by at most this share.
_TWIN_SHARE: Final = 0.2
# Of the channels that change: those that seldom do may be hidden by the noise of a copy.
_TWIN_CHANNELS: Final = 0.8
_ROUNDING: Final = 1e-9
_CHUNK: Final = 512
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
    devices: Sequence[LabelledDevice], horizon_hours: float, excluded: Sequence[str], trusted: Sequence[str]
) -> None:
    """Raise an error that names copies of a device, or channels that count down to the failure.

    Parameters
    ----------
    excluded : sequence of str
        Channels that no model sees.
    trusted : sequence of str
        Channels that are measured, even if they look like a countdown.

    Raises
    ------
    InvalidContent
        There are such devices or channels.
    """
    shared = set.intersection(*(set(device.telemetry.channels) for device in devices))
    channels = sorted(shared - {AGE, *excluded})
    if twins := find_twins(devices, channels):
        (first, second), more = twins[0], len(twins) - 1
        raise InvalidContent(
            f"{first} and {second} have the same telemetry{f' (and {more} more pairs)' if more else ''}, as where "
            "one device is stored under two names: a model would be judged on what it has learnt. Delete one of "
            f"them (DELETE /api/telemetry?device_id={second}), or name the devices to learn from in device_ids"
        )
    if countdowns := find_countdowns(devices, sorted({*channels} - {*trusted}), horizon_hours):
        names = ", ".join(repr(countdown.channel) for countdown in countdowns)
        worst = countdowns[0]
        raise InvalidContent(
            f"{names} counts to the failure in a straight line ({worst.devices} devices, R² {worst.r2:.3f}), which "
            "only something computed from the failure does: a running device has no such value. Name it in "
            "exclude_channels, or in trusted_channels if it is measured"
        )


def find_twins(devices: Sequence[LabelledDevice], channels: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of devices of which one run begins or ends with the same rows, up to small noise.

    Rows of different devices differ by their noise, also where the devices work and wear alike.
    """
    runs = [
        (number, _select_columns(device.telemetry, channels)[rows])
        for number, device in enumerate(devices)
        for rows in device.runs()
        if len(rows) >= _MIN_TWIN_ROWS
    ]
    if len(runs) < 2 or not channels:
        return []
    length = min(_TWIN_ROWS, *(len(rows) for _, rows in runs))
    owners = np.array([number for number, _ in runs])
    pairs: set[tuple[int, int]] = set()
    for part in (slice(None, length), slice(-length, None)):
        blocks = np.stack([rows[part] for _, rows in runs])
        for first, second in _find_equal_blocks(blocks):
            overlap = min(len(runs[first][1]), len(runs[second][1]))
            whole = slice(None, overlap) if part.stop else slice(-overlap, None)
            # Runs that only begin alike, as in a simulation without noise, are no copies.
            same = _find_equal_blocks(np.stack([runs[first][1][whole], runs[second][1][whole]]))
            if same and owners[first] != owners[second]:
                pairs.add((int(owners[first]), int(owners[second])))
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


def _find_equal_blocks(blocks: Floats) -> list[tuple[int, int]]:
    """Return pairs of blocks, shape (n, rows, channels), that differ by less than their own changes."""
    length = blocks.shape[1]
    deviation = np.nanstd(blocks, axis=(0, 1))
    is_varying = deviation > 0
    scaled = (blocks[..., is_varying] - np.nanmean(blocks, axis=(0, 1))[is_varying]) / deviation[is_varying]
    scaled = np.nan_to_num(scaled)
    steps = np.diff(scaled, axis=1)
    noise = np.sqrt((steps**2).mean(axis=1))
    # In a window where hardly anything changes, as of a machine at rest, devices look alike.
    candidates = np.flatnonzero((steps != 0).any(axis=2).sum(axis=1) >= length // 2)
    squares = (scaled**2).sum(axis=1)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(candidates), _CHUNK):
        chunk = candidates[start : start + _CHUNK]
        # A channel that stands still in one of the two tells nothing.
        num_near, num_telling = np.zeros((2, len(chunk), len(candidates)), dtype=np.int16)
        for channel in range(scaled.shape[2]):
            values, own = scaled[candidates, :, channel], scaled[chunk, :, channel]
            distance = squares[chunk, channel][:, None] + squares[candidates, channel] - 2 * own @ values.T
            smaller = np.minimum(noise[chunk, channel][:, None], noise[candidates, channel])
            num_telling += smaller > 0
            num_near += (smaller > 0) & (
                distance <= length * (_TWIN_SHARE * smaller) ** 2 + _ROUNDING * length
            )
        are_near = num_near >= np.maximum(1, _TWIN_CHANNELS * num_telling)
        for row, column in np.argwhere(are_near).tolist():
            if chunk[row] < candidates[column]:
                pairs.append((int(chunk[row]), int(candidates[column])))
    return pairs


def _select_columns(telemetry: DeviceTelemetry, names: Sequence[str]) -> Floats:
    """Return the values of these channels, shape (rows, names)."""
    return telemetry.values[:, [telemetry.channels.index(name) for name in names]]
