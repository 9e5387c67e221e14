"""Names of sensor models: ``<sensor_id>-anomaly``, ``<sensor_id>-drift``, ``<sensor_id>-calibration``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from errors import NotFound
from prediction.contract import ModelKey

FAMILY = "sensors"
MODEL_KINDS = ("anomaly", "drift", "calibration")
_NAME = re.compile(rf"([1-9][0-9]{{0,9}})-({'|'.join(MODEL_KINDS)})", re.ASCII)


def parse_key(key: ModelKey) -> tuple[int, str]:
    """Return the sensor and the kind of model that a key names.

    Raises
    ------
    NotFound
        The name is not that of a sensor model.
    """
    match = _NAME.fullmatch(key.name)
    if match is None:
        raise NotFound(f"There is no {key}: sensor models are named <sensor_id>-{'|'.join(MODEL_KINDS)}")
    return int(match[1]), match[2]


def build_model_names(sensor_ids: Iterable[int], kinds: Sequence[str] = MODEL_KINDS) -> list[str]:
    """Return the names of all models of these sensors."""
    return [f"{sensor_id}-{kind}" for sensor_id in sensor_ids for kind in kinds]


def sort_key(name: str) -> tuple[int, str]:
    """Return the place of a model in a list: by the number of its sensor, then by kind."""
    sensor_id, kind = name.split("-", 1)
    return int(sensor_id), kind
