"""One prediction about a device, and the version that made it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PredictionSource:
    """The version that made a prediction, and its tenant."""

    tenant: str
    family: str
    name: str
    version: int


@dataclass(frozen=True)
class Prediction:
    """One prediction about one device.

    Parameters
    ----------
    as_of : int
        The device's last row, in microseconds since 1970.
    value, max_value : float
        The prediction, and the largest one that the model can make, in the family's unit.
    lower, upper : float or None
        A 90 % interval, if one was asked for.
    rows_used : int
        Number of the device's rows that the prediction is based on.
    """

    device_id: str
    as_of: int
    value: float
    max_value: float
    lower: float | None
    upper: float | None
    rows_used: int
