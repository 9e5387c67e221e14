"""From a device's last rows to the network's input, and from its output to a prediction, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.rul.data.collect import average_in_buckets
from prediction.rul.data.label import DataLabeler, LabelerRecord
from prediction.rul.data.windows import pad, smooth
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE, Residuals
from prediction.telemetry import forward_fill
from prediction.telemetry.conditions import ConditionsRecord, OperatingConditions
from storage.devices.telemetry import DeviceTelemetry

# A prediction this close to the horizon means "at least": longer lives are not told apart.
_AT_LEAST_SHARE: Final = 0.98
# The health status of a device that has been silent for longer than the model can look ahead.
UNKNOWN: Final = "unknown"


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


class PreprocessorRecord(TypedDict):
    """A preprocessor as ``model_metadata.json`` holds it."""

    channels: Sequence[str]
    settings: Sequence[str]
    window: int
    smoothing: int
    window_hours: float
    horizon_hours: float
    labeler: LabelerRecord
    conditions: ConditionsRecord


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

    def to_dict(self) -> PreprocessorRecord:
        """Return what `from_dict` reads."""
        return {
            "channels": self.channels,
            "settings": self.settings,
            "window": self.window,
            "smoothing": self.smoothing,
            "window_hours": self.window_hours,
            "horizon_hours": self.horizon_hours,
            "labeler": {
                "horizon_hours": self.labeler.horizon_hours,
                "critical_hours": self.labeler.critical_hours,
                "warning_hours": self.labeler.warning_hours,
                "censored": self.labeler.censored,
            },
            "conditions": self.conditions.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: PreprocessorRecord) -> Preprocessor:
        """Rebuild what `to_dict` returned."""
        return cls(
            channels=content["channels"],
            settings=content["settings"],
            conditions=OperatingConditions.from_dict(content["conditions"]),
            window=content["window"],
            smoothing=content["smoothing"],
            window_hours=content["window_hours"],
            horizon_hours=content["horizon_hours"],
            labeler=DataLabeler(**content["labeler"]),
        )


class PredictionInterval(TypedDict):
    """The interval in hours that holds the true remaining life with this probability."""

    lower: float
    upper: float
    coverage: float


class AlarmTime(TypedDict):
    """When a repair is cheapest, by the costs of one that comes too late or too early."""

    in_hours: float
    late: float
    early: float


class RulPrediction(TypedDict):
    """The prediction for one device; ``at_least`` says that the remaining life may be longer than the horizon."""

    device_id: str | None
    rul_hours: float
    interval: PredictionInterval
    at_least: bool
    health_status: str
    silent_hours: float | None
    as_of: str | None
    rows_used: int
    alarm: NotRequired[AlarmTime]


def build_prediction(
    preprocessor: Preprocessor,
    residuals: Residuals,
    hours: float,
    request: RulInput,
    telemetry: DeviceTelemetry,
) -> RulPrediction:
    """Return the prediction for one device."""
    horizon = preprocessor.horizon_hours
    hours = min(max(float(hours), 0.0), horizon)
    coverage = request.get("coverage") or DEFAULT_COVERAGE
    low, high = residuals.interval(np.array([hours]), coverage, horizon)
    last_time = datetime.fromtimestamp(int(telemetry.times[-1]) / 1e6, UTC)
    prediction: RulPrediction = {
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
