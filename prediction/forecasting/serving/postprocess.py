"""From rows and a network's output to a prediction: timestamps, values, intervals, crossed thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, InvalidRecords, NotEnoughData
from prediction.contract import Options
from prediction.forecasting.data.series import MAX_ABS_Z, StandardScaling
from prediction.forecasting.intervals import DEFAULT_COVERAGE, interpolate_half_widths
from prediction.forecasting.model.rules import NETWORK
from prediction.records.fields import FieldError, RecordFault, is_empty, parse_number
from storage import times
from storage.calendar_steps import CalendarStep
from storage.placeholders import PLACEHOLDERS
from storage.text.csv_headers import fold_name
from storage.times import NO_TIME, format_nanoseconds

_MAX_NAMED_ROWS = 5
# A number such as -9999 is a measurement where the training data has ones near it.
_MIN_PLACEHOLDER_Z = 20.0
InputRows = Sequence[Mapping[str, object]]


class TargetForecast(TypedDict):
    """The forecast of one target, a number a step."""

    values: list[float]
    lower: list[float]
    upper: list[float]


class Crossing(TypedDict):
    """The steps at which a target crosses a threshold, and at which its interval first reaches it."""

    threshold: float
    direction: str
    step: int | None
    timestamp: str | None
    earliest_step: int | None
    earliest_timestamp: str | None


class ForecastPrediction(TypedDict):
    """The forecast of one series; targets and crossings by the name of the column."""

    timestamps: list[str] | None
    steps: int
    coverage: float
    model_used: str
    targets: dict[str, TargetForecast]
    crossings: NotRequired[dict[str, Crossing]]
    warnings: NotRequired[list[str]]


@dataclass(frozen=True)
class InputWindow:
    """The rows of a request as a network takes them.

    Parameters
    ----------
    z : ndarray of float32, shape (window, n_features)
        With columns known in advance, ``steps`` rows of the horizon are behind, zero but for these columns.
    last : ndarray, shape (n_features,)
        The last row in the data's units.
    warnings : tuple of str
        Which cells were filled, and what was not used.
    """

    z: NDArray[np.float32]
    last: NDArray[np.float64]
    warnings: tuple[str, ...] = ()


def fill_missing_cells(
    values: NDArray[np.float64], names: Mapping[int, str], first: int, faults: list[RecordFault]
) -> tuple[str, ...]:
    """Fill missing cells on the line between their neighbours, at the ends with the nearest value.

    Parameters
    ----------
    values : ndarray, shape (window, n_features)
        Changed in place; NaN where a cell is missing.
    names : mapping of int to str
        The fields of the columns that are used.
    first : int
        Rows of the request before the window.
    faults : list
        Gets a fault where more than half of a column is missing.

    Returns
    -------
    tuple of str
        One warning a column.
    """
    warnings = []
    for column, name in names.items():
        is_missing = np.isnan(values[:, column])
        rows = np.flatnonzero(is_missing)
        if not len(rows):
            continue
        if 2 * len(rows) > len(values):
            message = f"{name} is missing in {len(rows)} of the last {len(values)} rows, too many to fill"
            faults.append(FieldError(name, "missing", None, message).to_dict(first + int(rows[0]) + 1))
            values[rows, column] = 0.0
            continue
        known = np.flatnonzero(~is_missing)
        values[rows, column] = np.interp(rows, known, values[known, column])
        named = ", ".join(str(first + row + 1) for row in rows[:_MAX_NAMED_ROWS].tolist())
        more = f" and {len(rows) - _MAX_NAMED_ROWS} more" if len(rows) > _MAX_NAMED_ROWS else ""
        warnings.append(f"{name} is missing in record {named}{more}: filled from the values before and after")
    return tuple(warnings)


@dataclass(frozen=True)
class ForecastPostprocessor:
    """What a prediction needs besides the network.

    Parameters
    ----------
    half_widths : ndarray of float32, shape (coverages, steps, n_targets)
        Of the intervals, in z units.
    model_used : str
        ``"network"``, or the simple rule that answers because the network errs more.
    future : tuple of int
        Columns whose values over the horizon the network looks at.
    is_channel_network : bool
        Whether the network looks at targets, and columns known in advance, only.
    """

    columns: tuple[str, ...]
    targets: tuple[int, ...]
    window: int
    steps: int
    scaler: StandardScaling
    half_widths: NDArray[np.float32]
    time_column: str | None
    step: CalendarStep | None
    time_format: str | None = None
    model_used: str = NETWORK
    future: tuple[int, ...] = ()
    is_channel_network: bool = False

    @property
    def uses_targets_only(self) -> bool:
        """Whether other columns do not matter, so that requests may leave them out: no simple rule looks at them."""
        return self.is_channel_network or self.model_used != NETWORK

    @property
    def future_names(self) -> tuple[str, ...]:
        """The columns whose values over the horizon a request brings: none where a simple rule answers."""
        return tuple(self.columns[column] for column in self.future) if self.model_used == NETWORK else ()

    def split_future(self, rows: InputRows, future: InputRows | None) -> tuple[InputRows, InputRows]:
        """Return the rows of the past, and those of the horizon where the model needs them.

        Without ``future``, as in a CSV body, the horizon is the last rows, in which every target is empty.

        Raises
        ------
        InvalidContent
            There is not one row for each step.
        """
        names = self.future_names
        if not names:
            return rows, future or ()
        if future is None:
            targets = [self.columns[target] for target in self.targets]
            known = len(rows)
            while known and all(is_empty(rows[known - 1].get(target)) for target in targets):
                known -= 1
            rows, future = rows[:known], rows[known:]
        if len(future) != self.steps:
            raise InvalidContent(
                f"This model needs {', '.join(map(repr, names))} in the {self.steps} rows to forecast, {len(future)} "
                'were sent: send them as "future": [{column: value}, …], or as last rows with empty targets'
            )
        return rows, future

    def extract_window(
        self, rows: InputRows, future: InputRows = (), *, refuse_missing: bool = False
    ) -> InputWindow:
        """Return the last rows as z-scores; missing cells are filled from their neighbours in time.

        Parameters
        ----------
        future : sequence of mapping
            The rows of the horizon, as `split_future` returns them; no cell of these is filled.

        Raises
        ------
        NotEnoughData
            There are fewer rows than one window.
        InvalidRecords
            A value is no number, too extreme to compute with, or missing where that is refused or where more than
            half of its column is; every fault is named.
        """
        if len(rows) < self.window:
            raise NotEnoughData(
                f"This model needs the last {self.window} rows; {len(rows)} were sent", needed=self.window
            )
        first = len(rows) - self.window
        names = self._match_columns(rows[first:])
        faults: list[RecordFault] = []
        values = self._parse_cells(rows[first:], names, first, faults, refuse_missing=refuse_missing)
        warnings = fill_missing_cells(values, names, first, faults)
        unused = [column for column in range(len(self.columns)) if column not in names]
        # The mean is zero in z units, and the network does not look at it.
        values[:, unused] = self.scaler.mean[unused]
        z = self.scaler.transform(values)
        is_placeholder = np.isin(values, list(PLACEHOLDERS)) & (np.abs(z) > _MIN_PLACEHOLDER_Z)
        for number, column in np.argwhere(is_placeholder).tolist():
            name, value = self.columns[column], values[number, column]
            message = f"{name} is {value:g}, which often stands for a missing value"
            faults.append(FieldError(name, "placeholder", value, message).to_dict(first + number + 1))
        for number, column in np.argwhere(np.abs(z) > MAX_ABS_Z).tolist():
            name = self.columns[column]
            message = f"{name} is too far from every value of the training data"
            too_far = FieldError(name, "range", values[number, column], message)
            faults.append(too_far.to_dict(first + number + 1))
        if self.future_names:
            z = np.concatenate([z, self._extract_horizon(future, faults)])
        elif future:
            warnings += ("future was not used: this model needs no values of the rows to forecast",)
        if faults:
            raise InvalidRecords(faults)
        return InputWindow(z, values[-1], warnings)

    def _extract_horizon(self, future: InputRows, faults: list[RecordFault]) -> NDArray[np.float32]:
        """Return the rows of the horizon as z-scores, zero but for the columns known in advance."""
        names = {column: f"future.{self.columns[column]}" for column in self.future}
        # Faults name the cell by its place in the request.
        rows = [{f"future.{name}": cell for name, cell in row.items()} for row in future]
        values = np.tile(self.scaler.mean, (self.steps, 1))
        known = self._parse_cells(rows, names, 0, faults, refuse_missing=True)
        values[:, self.future] = known[:, self.future]
        z = self.scaler.transform(values)
        for number, column in np.argwhere(np.abs(z) > MAX_ABS_Z).tolist():
            message = f"{names[column]} is too far from every value of the training data"
            too_far = FieldError(names[column], "range", values[number, column], message)
            faults.append(too_far.to_dict(number + 1))
        return z

    def _parse_cells(
        self,
        rows: InputRows,
        names: Mapping[int, str],
        first: int,
        faults: list[RecordFault],
        *,
        refuse_missing: bool,
    ) -> NDArray[np.float64]:
        """Return the numbers of some columns, shape ``(len(rows), n_features)``; NaN where one is missing.

        Parameters
        ----------
        first : int
            Rows of the request before these.
        faults : list
            Gets a fault for each cell that is no number and, with ``refuse_missing``, for each missing one.
        """
        values = np.zeros((len(rows), len(self.columns)))
        for number, row in enumerate(rows):
            for column, name in names.items():
                cell = row.get(name)
                if is_empty(cell) and not refuse_missing:
                    values[number, column] = np.nan
                    continue
                try:
                    values[number, column] = parse_number(name, None if is_empty(cell) else cell)
                except FieldError as error:
                    faults.append(error.to_dict(first + number + 1))
        return values

    def _match_columns(self, rows: InputRows) -> dict[int, str]:
        """Return the fields of the columns that this model needs, also in other capitals.

        Raises
        ------
        InvalidContent
            No row has a column; every missing one is named once.
        """
        present = {name for row in rows for name in row}
        # Exports of one logger differ in capitals and blanks from version to version.
        by_fold = {fold_name(name): name for name in present}
        future = self.future if self.future_names else ()
        needed = (*self.targets, *future) if self.uses_targets_only else range(len(self.columns))
        names = {column: self.columns[column] for column in needed}
        fields = {
            column: name if name in present else by_fold.get(fold_name(name))
            for column, name in names.items()
        }
        if missing := [names[column] for column, field in fields.items() if field is None]:
            raise InvalidContent(
                f"No row has {', '.join(map(repr, missing))}; this model needs {', '.join(names.values())}"
            )
        return {column: str(field) for column, field in fields.items()}

    def build_prediction(
        self,
        rows: InputRows,
        future: InputRows,
        window: InputWindow,
        z: NDArray[np.float32],
        query: Options,
    ) -> ForecastPrediction:
        """Return the prediction for one series.

        Parameters
        ----------
        z : ndarray, shape (steps, n_targets)
            The network's output.
        query : mapping
            ``coverage`` and ``degradation_threshold``, each optional.
        """
        coverage = query.get("coverage") or DEFAULT_COVERAGE
        columns = list(self.targets)
        values = self.scaler.inverse_transform(z, columns)
        half = interpolate_half_widths(self.half_widths, coverage) * self.scaler.scale[columns]
        timestamps = self._compute_timestamps(rows, future)
        targets: dict[str, TargetForecast] = {
            self.columns[column]: {
                "values": values[:, number].tolist(),
                "lower": (values - half)[:, number].tolist(),
                "upper": (values + half)[:, number].tolist(),
            }
            for number, column in enumerate(columns)
        }
        prediction: ForecastPrediction = {
            "timestamps": timestamps,
            "steps": self.steps,
            "coverage": coverage,
            "model_used": self.model_used,
            "targets": targets,
        }
        if window.warnings:
            prediction["warnings"] = list(window.warnings)
        if query.get("degradation_threshold") is not None:
            limits = self._resolve_thresholds(query["degradation_threshold"])
            current = {self.columns[column]: float(window.last[column]) for column in columns}
            prediction["crossings"] = {
                name: _find_crossing(current[name], limit, targets[name], timestamps)
                for name, limit in limits.items()
            }
        return prediction

    def _compute_timestamps(self, rows: InputRows, future: InputRows) -> list[str] | None:
        """Return the time of each step; None where the rows, or the training data, have no times.

        Times in rows of the horizon are taken as they are, once they follow: holidays are known in advance.
        """
        if self.time_column is None or self.step is None or self.time_column not in rows[-1]:
            return None
        # Only the last window is read, so older rows may have gaps or other formats.
        timed = rows[-self.window :]
        has_times = bool(future) and self.time_column in future[0]
        if has_times:
            timed = [*timed, *future]
        cells = [row.get(self.time_column) for row in timed]
        row_times = _parse_times(cells, self.time_column, self.time_format)
        wrong = np.flatnonzero(~self.step.follows(row_times))
        if len(wrong):
            first, seconds = int(wrong[0]), np.diff(row_times)[wrong[0]] / 1e9
            raise InvalidContent(
                f"The rows must be {self.step.describe()} apart, the oldest first, as in training; "
                f"record {len(rows) - self.window + first + 2} is {seconds:g} s after the one before"
            )
        ahead = row_times[self.window :] if has_times else self.step.extend(row_times, self.steps)
        return [str(format_nanoseconds(int(time))) for time in ahead]

    def _resolve_thresholds(self, threshold: Mapping[str, float] | float) -> dict[str, float]:
        """Return limits by target: a number is for the target ``degradation`` if there is one, else for all."""
        names = [self.columns[target] for target in self.targets]
        if isinstance(threshold, Mapping):
            if unknown := sorted(set(threshold) - set(names)):
                raise InvalidContent(
                    f"No target is called {', '.join(unknown)}; there are: {', '.join(names)}"
                )
            return {name: float(limit) for name, limit in threshold.items()}
        return dict.fromkeys(["degradation"] if "degradation" in names else names, float(threshold))


def _find_crossing(
    current: float, limit: float, target: TargetForecast, timestamps: list[str] | None
) -> Crossing:
    """Find the first step on the other side of a threshold, and the first that the interval reaches it."""

    def first_step(is_beyond: NDArray[np.bool_]) -> int | None:
        return int(is_beyond.argmax()) + 1 if is_beyond.any() else None

    if current < limit:
        step = first_step(np.greater_equal(target["values"], limit))
        earliest = first_step(np.greater_equal(target["upper"], limit))
    else:
        step = first_step(np.less_equal(target["values"], limit))
        earliest = first_step(np.less_equal(target["lower"], limit))
    return {
        "threshold": limit,
        "direction": "rises" if current < limit else "falls",
        "step": step,
        "timestamp": timestamps[step - 1] if timestamps and step else None,
        "earliest_step": earliest,
        "earliest_timestamp": timestamps[earliest - 1] if timestamps and earliest else None,
    }


def _parse_times(cells: list[object], column: str, time_format: str | None) -> NDArray[np.int64]:
    """Return nanoseconds of texts, in the training's format or another, or of counts since 1970."""
    import pyarrow as pa

    texts = pa.array([str(cell) for cell in cells])
    detected = time_format if times.format_reads_all(texts, time_format) else times.detect_format(texts)
    if detected is not None:
        parsed = times.to_nanoseconds(times.parse_timestamps(texts, str(detected)))
    else:
        parsed = _parse_epoch_counts(cells, column)
    if (parsed == NO_TIME).any():
        raise InvalidContent(f"The timestamps in {column!r} cannot be read: send them as in training")
    return parsed


def _parse_epoch_counts(cells: list[Any], column: str) -> NDArray[np.int64]:
    """Return nanoseconds of counts since 1970; `NO_TIME` where they are none."""
    try:
        numbers = np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        return np.full(len(cells), NO_TIME)
    unit = times.epoch_unit(column, numbers) if np.isfinite(numbers).all() else None
    return np.full(len(cells), NO_TIME) if unit is None else (numbers * float(unit)).astype(np.int64)
