"""The question that clients ask a sensor model: one reading, in the form all three kinds of model take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from prediction.sensors.readings.series import Array


class PredictionInput(TypedDict):
    """A reading with its time (seconds since 1970), the values before it and the steps to forecast."""

    value: float
    time: float
    recent: list[float]
    future_points: int


def stack_values(inputs: Sequence[PredictionInput]) -> tuple[Array, Array]:
    """Return values and times of the inputs, float64 of shape (n,) each."""
    values = np.array([item["value"] for item in inputs], dtype=np.float64)
    return values, np.array([item["time"] for item in inputs], dtype=np.float64)
