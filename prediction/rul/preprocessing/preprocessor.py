"""From a device's last rows to the network's input, and from its output to a prediction, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, NotRequired, TypedDict

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

# A prediction this close to the horizon means "at least": longer lives are not told apart.
_AT_LEAST_SHARE: Final = 0.98
UNKNOWN: Final = "unknown"
"""The health status of a device that has been silent for longer than the model can look ahead."""
_PLAIN_FIELDS: Final = ("channels", "settings", "window", "smoothing", "window_hours", "horizon_hours")


class AlarmCosts(TypedDict):
    """The cost of each hour that an alarm comes too late or too early."""

    late: float
    early: float


class RulInput(TypedDict):
    """One input of a prediction: rows of a device, oldest first, or a device whose rows are stored.

    ``times`` are microseconds since 1970; without ``dated`` they only keep the order. ``silent_hours`` is the time
    since the last stored row.
    """

    device_id: str | None
    rows: Sequence[Mapping[str, float]]
    times: Sequence[int]
    dated: bool
    coverage: NotRequired[float | None]
    costs: NotRequired[AlarmCosts | None]
    silent_hours: NotRequired[float | None]


@dataclass(frozen=True)
class Preprocessor:
    """How rows become the network's input.

    Parameters
    ----------
    channels, settings : sequence of str
        The network's channels in its order; the channels that describe how the device is run.
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

    def normalise(self, telemetry: DeviceTelemetry) -> NDArray[np.float32]:
        """Return the rows as network input before windows are cut: shape ``(n, channels)``.

        Raises
        ------
        InvalidContent
            A channel or setting that the model was trained on is missing.
        """
        required = [*self.channels, *self.settings]
        if missing := sorted(set(required) - set(telemetry.channels)):
            raise InvalidContent(
                f"The rows have no values of {', '.join(missing[:10])}; "
                f"the model knows: {', '.join(required)}"
            )
        values = telemetry.values[:, [telemetry.channels.index(name) for name in required]]
        channels, settings = values[:, : len(self.channels)], values[:, len(self.channels) :]
        settings = np.nan_to_num(forward_fill(settings))
        return smooth(self.conditions.normalise(forward_fill(channels), settings), self.smoothing)

    def last_window(self, telemetry: DeviceTelemetry) -> NDArray[np.float32]:
        """Return the last window of a device; the first row is repeated where there are fewer."""
        values = self.normalise(average_in_buckets(telemetry, self.window_hours))
        return pad(values, self.window)[-self.window :]

    def to_dict(self) -> JSON:
        """Return the preprocessor as JSON."""
        plain = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        return {**plain, "labeler": asdict(self.labeler), "conditions": self.conditions.to_dict()}

    @classmethod
    def from_dict(cls, content: JSON) -> Preprocessor:
        """Read the preprocessor from JSON."""
        labeler = DataLabeler(**content["labeler"])
        conditions = OperatingConditions.from_dict(content["conditions"])
        plain = {name: content[name] for name in _PLAIN_FIELDS}
        return cls(conditions=conditions, labeler=labeler, **plain)


def forward_fill(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace each missing value by the last known one; before the first known value it stays missing."""
    if not np.isnan(values).any():
        return values
    rows = np.arange(len(values))[:, None]
    last_known = np.maximum.accumulate(np.where(np.isfinite(values), rows, 0), axis=0)
    return np.take_along_axis(values, last_known, axis=0)


def telemetry_from_rows(
    rows: Sequence[Mapping[str, float]], times: Sequence[int], device_id: str | None
) -> DeviceTelemetry:
    """Return the rows of a request as telemetry, in order of time."""
    instants = np.array(times, dtype=np.int64)
    order = np.argsort(instants, kind="stable")
    names = tuple(sorted({name for row in rows for name in row}))
    values = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float64)
    return DeviceTelemetry(device_id or "", np.arange(len(rows)), instants[order], names, values[order])


def build_prediction(
    preprocessor: Preprocessor,
    residuals: Residuals,
    hours: float,
    request: RulInput,
    telemetry: DeviceTelemetry,
) -> JSON:
    """Return the prediction for one device."""
    horizon = preprocessor.horizon_hours
    hours = min(max(float(hours), 0.0), horizon)
    coverage = request.get("coverage") or DEFAULT_COVERAGE
    low, high = residuals.interval(np.array([hours]), coverage, horizon)
    last_time = datetime.fromtimestamp(int(telemetry.times[-1]) / 1e6, UTC)
    prediction: JSON = {
        "device_id": request.get("device_id"),
        "rul_hours": hours,
        "interval": {"lower": float(low[0]), "upper": float(high[0]), "coverage": coverage},
        "at_least": hours >= _AT_LEAST_SHARE * horizon,
        "health_status": _assess_health(preprocessor, hours, request.get("silent_hours")),
        "silent_hours": request.get("silent_hours"),
        "as_of": last_time.isoformat(timespec="seconds") if request.get("dated") else None,
        "rows_used": len(telemetry),
    }
    if costs := request.get("costs"):
        alarm = residuals.alarm_hours(hours, costs["late"], costs["early"])
        prediction["alarm"] = {"in_hours": alarm, "late": costs["late"], "early": costs["early"]}
    return prediction


def _assess_health(preprocessor: Preprocessor, hours: float, silent_hours: float | None) -> str:
    """Return the health status now: the device may have run on since its last row."""
    silent = silent_hours or 0.0
    if silent > preprocessor.horizon_hours:
        return UNKNOWN
    return str(preprocessor.labeler.status(np.array([max(hours - silent, 0.0)]))[0])
