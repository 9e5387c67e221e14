"""Readings of one delivery that have the sensor and the time of another one of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from storage.sensors.reading_block import ReadingBlock
from storage.times import format_nanoseconds

_MAX_NAMED: Final = 5


@dataclass(frozen=True)
class DistinctReadings:
    """Readings without those that only repeat another one.

    Parameters
    ----------
    block : ReadingBlock
    repeated : int
        How many had sensor, time and value of a later one, and were left out.
    warnings : list of str
        Names the sensors and times with several values, all of which stay.
    """

    block: ReadingBlock
    repeated: int = 0
    warnings: list[str] = field(default_factory=list)


def drop_repeated(block: ReadingBlock, names: Mapping[int, str] | None = None) -> DistinctReadings:
    """Return the readings of a delivery without repetitions.

    Parameters
    ----------
    names : mapping of int to str, optional
        What warnings call sensors, where not by their numbers.
    """
    # Stable by arrival: the last of several readings is the sensor's value, so that the last of equal ones stays.
    order = np.lexsort((np.arange(len(block)), block.times, block.sensors))
    sensors, times, values = block.sensors[order], block.times[order], block.values[order]
    is_same = np.append(False, (np.diff(sensors) == 0) & (np.diff(times) == 0))
    if not is_same.any():
        return DistinctReadings(block)
    group = np.cumsum(~is_same) - 1
    by_value = np.lexsort((np.arange(len(block)), values, group))
    is_equal = np.append((np.diff(group[by_value]) == 0) & (np.diff(values[by_value]) == 0), False)
    is_distinct = np.ones(len(block), dtype=bool)
    is_distinct[order[by_value[is_equal]]] = False
    counts = np.bincount(group[by_value[~is_equal]])
    warnings = []
    if (several := np.flatnonzero(counts > 1)).size:
        examples = []
        for number in several[:_MAX_NAMED].tolist():
            rows = np.flatnonzero((group == number) & is_distinct[order])
            sensor, time = int(sensors[rows[0]]), format_nanoseconds(int(times[rows[0]]) * 1000)
            name = (names or {}).get(sensor, f"sensor {sensor}")
            cells = ", ".join(f"{value:g}" for value in values[rows].tolist())
            examples.append(f"{name} at {time} has {cells}")
        more = ", …" if len(several) > _MAX_NAMED else ""
        warnings.append(
            f"Readings with different values have one sensor and time, {len(several):,} times: "
            f"{'; '.join(examples)}{more}; all are stored, and the last one is the sensor's value"
        )
    return DistinctReadings(block.select(is_distinct), int((~is_distinct).sum()), warnings)
