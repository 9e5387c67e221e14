"""From rows and a network's output to an answer: timestamps, values, intervals, crossed thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, InvalidRecords, NotEnoughData
from prediction.contract import JSON
from prediction.forecasting.data.series import MAX_ABS_Z, StandardScaling
from prediction.forecasting.intervals import interpolate_half_widths
from prediction.records.fields import FieldError, RecordFault, parse_number
from storage import times
from storage.times import NO_TIME, format_nanoseconds, step_tolerance

Rows = Sequence[Mapping[str, Any]]

DEFAULT_COVERAGE = 0.9


@dataclass(frozen=True)
class ForecastPostprocessor:
    """What is known of a model when it answers; the network itself is somebody else's.

    Parameters
    ----------
    margins : ndarray of float32, shape (levels, steps, n_targets)
        Half widths of the intervals in z units.
    """

    columns: tuple[str, ...]
    targets: tuple[int, ...]
    window: int
    steps: int
    scaler: StandardScaling
    margins: NDArray[np.float32]
    time_column: str | None
    step_ns: int | None
    time_format: str | None = None

    def window_of(self, rows: Rows) -> NDArray[np.float32]:
        """The last rows as z-scores, shape ``(window, n_features)``.

        Raises
        ------
        NotEnoughData
            There are fewer rows than one window.
        InvalidRecords
            A value is missing, no number, or too extreme to compute with; every fault is named.
        """
        if len(rows) < self.window:
            raise NotEnoughData(
                f"This model looks at the last {self.window} rows; {len(rows)} were sent", needed=self.window
            )
        first = len(rows) - self.window
        faults: list[RecordFault] = []
        values = np.empty((self.window, len(self.columns)))
        for place, row in enumerate(rows[first:]):
            for column, name in enumerate(self.columns):
                values[place, column] = _number(row.get(name), first + place + 1, name, faults)
        z = self.scaler.transform(values)
        for place, column in np.argwhere(np.abs(z) > MAX_ABS_Z).tolist():
            name, said = self.columns[column], "is too far from everything known"
            wrong = FieldError(name, "range", values[place, column], f"{name} {said}")
            faults.append(wrong.to_dict(first + place + 1))
        if faults:
            raise InvalidRecords(faults)
        return z

    def answer(self, rows: Rows, z: NDArray[np.float32], asked: Mapping[str, Any]) -> JSON:
        """The answer for one series.

        Parameters
        ----------
        z : ndarray, shape (steps, n_targets)
            The network's output.
        asked : mapping
            ``coverage`` and ``degradation_threshold``, each optional.
        """
        coverage = asked.get("coverage") or DEFAULT_COVERAGE
        columns = list(self.targets)
        values = self.scaler.inverse_transform(z, columns)
        half = interpolate_half_widths(self.margins, coverage) * self.scaler.scale[columns]
        moments = self._timestamps(rows)
        targets = {
            self.columns[column]: {
                "values": values[:, place].tolist(),
                "lower": (values - half)[:, place].tolist(),
                "upper": (values + half)[:, place].tolist(),
            }
            for place, column in enumerate(columns)
        }
        answer: JSON = {"timestamps": moments, "steps": self.steps, "coverage": coverage, "targets": targets}
        if asked.get("degradation_threshold") is not None:
            thresholds = self._thresholds(asked["degradation_threshold"])
            answer["crossings"] = {
                name: _crossing(parse_number(name, rows[-1][name]), limit, targets[name], moments)
                for name, limit in thresholds.items()
            }
        return answer

    def _timestamps(self, rows: Rows) -> list[str] | None:
        """When each step will be; None where the rows, or the training data, have no times."""
        if self.time_column is None or self.step_ns is None or self.time_column not in rows[-1]:
            return None
        cells = [row.get(self.time_column) for row in rows[-self.window :]]
        known = _times(cells, self.time_column, self.time_format)
        steps = np.diff(known)
        if (np.abs(steps - self.step_ns) > step_tolerance(self.step_ns)).any():
            row = len(rows) - self.window + int(np.abs(steps - self.step_ns).argmax()) + 2
            raise InvalidContent(
                f"The rows must be {self.step_ns / 1e9:g} s apart, the oldest first, as in training; "
                f"record {row} is {steps[row - 2 - len(rows) + self.window] / 1e9:g} s behind the one before"
            )
        ahead = known[-1] + self.step_ns * np.arange(1, self.steps + 1)
        return [str(format_nanoseconds(int(moment))) for moment in ahead]

    def _thresholds(self, asked: Any) -> dict[str, float]:
        """A number counts for the target ``degradation`` where there is one, else for every target."""
        names = [self.columns[place] for place in self.targets]
        if isinstance(asked, Mapping):
            if unknown := sorted(set(asked) - set(names)):
                raise InvalidContent(
                    f"No target is called {', '.join(unknown)}; there are: {', '.join(names)}"
                )
            return {name: float(limit) for name, limit in asked.items()}
        meant = ["degradation"] if "degradation" in names else names
        return dict.fromkeys(meant, float(asked))


def _crossing(now: float, limit: float, target: JSON, moments: list[str] | None) -> JSON:
    """The first step on the other side of the threshold, and the first that the interval reaches it."""
    rising = now < limit
    side, edge = (np.greater_equal, "upper") if rising else (np.less_equal, "lower")
    expected = _first(side(target["values"], limit))
    earliest = _first(side(target[edge], limit))
    return {
        "threshold": limit,
        "direction": "rises" if rising else "falls",
        "step": expected,
        "timestamp": moments[expected - 1] if moments and expected else None,
        "earliest_step": earliest,
        "earliest_timestamp": moments[earliest - 1] if moments and earliest else None,
    }


def _first(crossed: NDArray[np.bool_]) -> int | None:
    """The first step, counted from 1; None where there is none."""
    return int(crossed.argmax()) + 1 if crossed.any() else None


def _number(value: Any, record: int, name: str, faults: list[RecordFault]) -> float:
    """A finite number, also from the text of a CSV cell; anything else is noted."""
    try:
        return parse_number(name, None if value == "" else value)
    except FieldError as wrong:
        faults.append(wrong.to_dict(record))
        return 0.0


def _times(cells: list[Any], column: str, time_format: str | None) -> NDArray[np.int64]:
    """Nanoseconds of timestamps, in texts as in training or as people write them, or counted since 1970."""
    import pyarrow as pa

    texts = pa.array([str(cell) for cell in cells])
    found = time_format if times.format_reads_all(texts, time_format) else times.detect_format(texts)
    read = (
        _counted(cells, column)
        if found is None
        else times.to_nanoseconds(times.parse_timestamps(texts, found))
    )
    if read is None or (read == NO_TIME).any():
        raise InvalidContent(f"The timestamps in {column!r} cannot be read: send them as in training")
    return read


def _counted(cells: list[Any], column: str) -> NDArray[np.int64] | None:
    try:
        numbers = np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        return None
    unit = times.epoch_unit(column, numbers) if np.isfinite(numbers).all() else None
    return None if unit is None else (numbers * float(unit)).astype(np.int64)
