"""From an asset's telemetry to the rows that a detector scores: off time out, operating conditions taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.equipment.model.rows import Floats, Mask, NormalisedRows, find_starts
from prediction.equipment.off_time import OffRule, parse_off_rule
from prediction.telemetry import OperatingConditions, forward_fill
from prediction.telemetry.conditions import ConditionsRecord
from storage.devices.telemetry import DeviceTelemetry


@dataclass(frozen=True)
class RunningRows:
    """Rows while the asset runs, not yet normalised; missing values are filled with the last known ones.

    Parameters
    ----------
    positions : int64, shape (n,)
        Of these rows in the telemetry.
    times : int64, shape (n,)
    channels, settings : shape (n, …)
    starts : bool, shape (n,)
    """

    positions: NDArray[np.int64]
    times: NDArray[np.int64]
    channels: Floats
    settings: Floats
    starts: Mask

    def __len__(self) -> int:
        return len(self.times)

    def select(self, rows: NDArray[np.int64]) -> RunningRows:
        """Return the rows at ascending places; one that has lost the row before it starts anew."""
        starts = self.starts[rows] | np.append(True, np.diff(rows) != 1)[: len(rows)]
        return RunningRows(
            self.positions[rows], self.times[rows], self.channels[rows], self.settings[rows], starts
        )


@dataclass(frozen=True)
class ChannelLayout:
    """Which channels are read, and when the asset is off.

    Parameters
    ----------
    channels, settings : sequence of str
        What is watched; what says how the asset is run.
    off_when : str or None
        The off-time rule.
    interval : float
        The usual time between rows in microseconds.
    """

    channels: Sequence[str]
    settings: Sequence[str]
    off_when: str | None
    interval: float

    @property
    def required(self) -> list[str]:
        """Return the channels that the model reads, in order of their names."""
        return sorted({*self.channels, *self.settings, *parse_off_rule(self.off_when).channels})

    def find_off_time(self, telemetry: DeviceTelemetry) -> Mask:
        """Return in which rows the asset does not run.

        Raises
        ------
        InvalidContent
            The rule reads a channel that the rows do not have.
        """
        rule: OffRule = parse_off_rule(self.off_when)
        self._require(telemetry, rule.channels)
        columns = {
            name: forward_fill(telemetry.values[:, [telemetry.channels.index(name)]])[:, 0]
            for name in rule.channels
        }
        return rule.is_off(columns, len(telemetry))

    def take_running_rows(self, telemetry: DeviceTelemetry) -> RunningRows:
        """Return the rows while the asset runs.

        Raises
        ------
        InvalidContent
            A channel that the model reads is missing.
        """
        required = [*self.channels, *self.settings]
        self._require(telemetry, required)
        positions = np.flatnonzero(~self.find_off_time(telemetry))
        columns = [telemetry.channels.index(name) for name in required]
        values = forward_fill(telemetry.values[:, columns])[positions]
        times = telemetry.times[positions]
        starts = find_starts(times, self.interval)
        starts |= np.append(True, np.diff(positions) != 1)[: len(positions)]
        channels, settings = np.split(values, [len(self.channels)], axis=1)
        return RunningRows(positions, times, channels, np.nan_to_num(settings), starts)

    def _require(self, telemetry: DeviceTelemetry, names: Sequence[str]) -> None:
        if missing := sorted(set(names) - set(telemetry.channels)):
            raise InvalidContent(
                f"The rows have no values of {', '.join(missing[:10])}; the model reads: {', '.join(self.required)}"
            )


class ChannelPreprocessorRecord(TypedDict):
    """A `ChannelPreprocessor` as ``equipment.json`` holds it."""

    channels: list[str]
    settings: list[str]
    off_when: str | None
    interval_seconds: float
    conditions: ConditionsRecord


@dataclass(frozen=True)
class ChannelPreprocessor:
    """The layout with the operating conditions that were found in training."""

    layout: ChannelLayout
    conditions: OperatingConditions

    @classmethod
    def fit(cls, layout: ChannelLayout, rows: RunningRows) -> ChannelPreprocessor:
        """Find the operating conditions in normal running time."""
        return cls(layout, OperatingConditions.fit(rows.channels, rows.settings))

    def normalise(self, rows: RunningRows) -> NormalisedRows:
        """Return rows as deviations from what is usual in their operating condition."""
        values = self.conditions.normalise(rows.channels, rows.settings).astype(np.float64)
        return NormalisedRows(rows.times, values, rows.starts, self.conditions.assign(rows.settings))

    def to_dict(self) -> ChannelPreprocessorRecord:
        """Return what `from_dict` reads."""
        layout = self.layout
        return {
            "channels": list(layout.channels),
            "settings": list(layout.settings),
            "off_when": layout.off_when,
            "interval_seconds": layout.interval / 1e6,
            "conditions": self.conditions.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: ChannelPreprocessorRecord) -> ChannelPreprocessor:
        """Rebuild what `to_dict` made."""
        layout = ChannelLayout(
            content["channels"],
            content["settings"],
            content["off_when"],
            content["interval_seconds"] * 1e6,
        )
        conditions = content["conditions"]
        if not layout.settings:
            # JSON does not show the shape of arrays without settings.
            conditions = {**conditions, "centres": np.zeros((1, 0)).tolist()}
        return cls(layout, OperatingConditions.from_dict(conditions))
