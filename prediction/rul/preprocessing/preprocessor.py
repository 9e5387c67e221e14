"""From a device's last rows to an answer: the arithmetic around the network, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.contract import JSON
from prediction.rul.data.collect import average_in_buckets
from prediction.rul.data.label import DataLabeler
from prediction.rul.data.windows import pad, smooth
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE, Residuals
from prediction.rul.preprocessing.conditions import OperatingConditions
from storage.devices.telemetry import DeviceTelemetry


@dataclass(frozen=True)
class Preprocessor:
    """How rows become the network's input, and its output an answer.

    Parameters
    ----------
    channels, settings : sequence of str
        What the network sees, in its order; what says how the device is run.
    smoothing : int
        Span in rows of the moving average.
    """

    channels: Sequence[str]
    settings: Sequence[str]
    conditions: OperatingConditions
    window: int
    smoothing: int
    window_hours: float
    horizon_hours: float
    labeler: DataLabeler

    def normalised(self, recorded: DeviceTelemetry) -> NDArray[np.float32]:
        """The rows as the network is shown them, before windows are cut: shape ``(n, channels)``.

        Raises
        ------
        InvalidContent
            A channel or setting that the model was trained on is not there at all.
        """
        places = _places(recorded.channels, [*self.channels, *self.settings])
        values = recorded.values[:, places[: len(self.channels)]]
        settings = np.nan_to_num(forward_fill(recorded.values[:, places[len(self.channels) :]]))
        return smooth(self.conditions.normalised(forward_fill(values), settings), self.smoothing)

    def window_of(self, recorded: DeviceTelemetry) -> NDArray[np.float32]:
        """The last window of a device, the first row repeated where it has fewer."""
        values = self.normalised(average_in_buckets(recorded, self.window_hours))
        return pad(values, self.window)[-self.window :]

    def to_dict(self) -> JSON:
        """As JSON."""
        told = {name: getattr(self, name) for name in _PLAIN}
        return {**told, "labeler": asdict(self.labeler), "conditions": self.conditions.to_dict()}

    @classmethod
    def from_dict(cls, told: JSON) -> Preprocessor:
        """From JSON."""
        labeler, conditions = (
            DataLabeler(**told["labeler"]),
            OperatingConditions.from_dict(told["conditions"]),
        )
        return cls(conditions=conditions, labeler=labeler, **{name: told[name] for name in _PLAIN})


_PLAIN = ("channels", "settings", "window", "smoothing", "window_hours", "horizon_hours")


def _places(channels: Sequence[str], wanted: Sequence[str]) -> list[int]:
    missing = sorted(set(wanted) - set(channels))
    if missing:
        raise InvalidContent(
            f"The rows have no values of {', '.join(missing[:10])}; the model knows: {', '.join(wanted)}"
        )
    return [channels.index(name) for name in wanted]


def forward_fill(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each missing value is the last that was known; before the first one it stays missing."""
    if not np.isnan(values).any():
        return values
    rows = np.arange(len(values))[:, None]
    known = np.maximum.accumulate(np.where(np.isfinite(values), rows, 0), axis=0)
    return np.take_along_axis(values, known, axis=0)


def telemetry_from_rows(rows: Sequence[JSON], times: Sequence[int], device_id: str | None) -> DeviceTelemetry:
    """Rows of a request, in order of time."""
    order = np.argsort(np.array(times, dtype=np.int64), kind="stable")
    names = tuple(sorted({name for row in rows for name in row}))
    values = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float64)
    instants = np.array(times, dtype=np.int64)[order]
    return DeviceTelemetry(device_id or "", np.arange(len(rows)), instants, names, values[order])


def answer(
    serving: Preprocessor, residuals: Residuals, hours: float, asked: JSON, recorded: DeviceTelemetry
) -> dict[str, Any]:
    """What is told of one device."""
    hours = min(max(float(hours), 0.0), serving.horizon_hours)
    coverage = asked.get("coverage") or DEFAULT_COVERAGE
    low, high = residuals.interval(np.array([hours]), coverage, serving.horizon_hours)
    found: dict[str, Any] = {
        "device_id": asked.get("device_id"),
        "rul_hours": hours,
        "interval": {"lower": float(low[0]), "upper": float(high[0]), "coverage": coverage},
        "at_least": hours >= 0.98 * serving.horizon_hours,
        "health_status": str(serving.labeler.status(np.array([hours]))[0]),
        "as_of": _instant(int(recorded.times[-1])) if asked.get("dated") else None,
        "rows_used": len(recorded),
    }
    if asked.get("costs"):
        late, early = asked["costs"]["late"], asked["costs"]["early"]
        found["alarm"] = {"in_hours": residuals.alarm(hours, late, early), "late": late, "early": early}
    return found


def _instant(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds")
