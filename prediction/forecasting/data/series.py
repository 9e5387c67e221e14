"""A scaled series and the windows over it: what preparation hands to training, evaluation and saving."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prediction.forecasting.data.windows import Floats, Rows, create_direct_sequences
from storage.calendar_steps import CalendarStep

# z-scores beyond it are no measurements: float32 cannot sum their squares.
MAX_ABS_Z = 1e12
_CHUNK_ROWS = 100_000


@dataclass(frozen=True)
class StandardScaling:
    """z-scores by column, fitted on training rows only (population deviation, as in StandardScaler).

    Parameters
    ----------
    mean, scale : ndarray, shape (n_features,)
        In the data's units; a constant column has scale 1.
    count : int
        Rows it was fitted on.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    count: int

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> StandardScaling:
        """Fit on rows ``(rows, n_features)``; missing cells are left out, a column without a cell has mean 0."""
        is_empty = np.isnan(values).all(axis=0)
        if is_empty.any():
            values = np.where(is_empty, 0.0, values)
        spread = np.nanstd(values, axis=0)
        return cls(np.nanmean(values, axis=0), np.where(spread > 0, spread, 1.0), len(values))

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return z-scores, computed in chunks so that no second float64 copy of the data is held."""
        z = np.empty(values.shape, dtype=np.float32)
        with np.errstate(over="ignore"):  # Callers look for values beyond MAX_ABS_Z.
            for start in range(0, len(values), _CHUNK_ROWS):
                chunk = slice(start, start + _CHUNK_ROWS)
                z[chunk] = (values[chunk] - self.mean) / self.scale
        return z

    def inverse_transform(self, z: Floats, columns: list[int]) -> NDArray[np.float64]:
        """Return values in the data's units of z-scores ``(…, len(columns))``."""
        values: NDArray[np.float64] = z * self.scale[columns] + self.mean[columns]
        return values


@dataclass(frozen=True)
class ForecastSeries:
    """One dataset's chosen columns as z-scores, with what forecasting needs to know about them.

    Parameters
    ----------
    z : ndarray of float32, shape (rows, n_features)
    targets : tuple of int
        Indices of the columns to forecast.
    future : tuple of int
        Indices of the columns whose values are known in advance.
    times : ndarray of int64, shape (rows,), optional
        Nanoseconds since 1970 UTC.
    season : int
        Rows of one season, for the seasonal baseline; 0 where there is none.
    """

    columns: tuple[str, ...]
    targets: tuple[int, ...]
    z: NDArray[np.float32]
    scaler: StandardScaling
    window: int
    steps: int
    future: tuple[int, ...] = ()
    times: NDArray[np.int64] | None = None
    step: CalendarStep | None = None
    time_column: str | None = None
    time_format: str | None = None
    season: int = 0

    @property
    def span(self) -> int:
        """Rows that one window and its future touch."""
        return self.window + self.steps

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the columns to forecast."""
        return tuple(self.columns[target] for target in self.targets)

    @property
    def output_size(self) -> int:
        """Numbers in one forecast."""
        return self.steps * len(self.targets)

    def sequences(self) -> tuple[Floats, Floats]:
        """Return histories and flattened futures at every row, as views."""
        return create_direct_sequences(self.z, self.targets, self.window, self.steps)

    def spans(self) -> Floats:
        """Return windows with the rows of their futures, ``(n, span, n_features)``, at every row, as a view."""
        return sliding_window_view(self.z, self.span, axis=0).swapaxes(1, 2)

    def to_units(self, z: Floats) -> NDArray[np.float64]:
        """Return values of the targets in their units, of z-scores ``(…, n_targets)``."""
        return self.scaler.inverse_transform(z, list(self.targets))


@dataclass(frozen=True)
class WindowSplit:
    """Some windows of a series: those for training, for validation or for the test.

    Parameters
    ----------
    starts : ndarray of int64
        First row of each window, ascending.
    """

    series: ForecastSeries
    starts: Rows

    def __len__(self) -> int:
        return len(self.starts)

    def subsample(self, max_windows: int) -> WindowSplit:
        """Return at most so many windows, evenly spread."""
        if len(self) <= max_windows:
            return self
        chosen = np.linspace(0, len(self) - 1, max_windows).round().astype(np.int64)
        return WindowSplit(self.series, self.starts[chosen])

    def histories(self, starts: Rows) -> NDArray[np.float32]:
        """Return copies of the windows at these rows, shape ``(n, window, n_features)``."""
        views, _ = self.series.sequences()
        return np.ascontiguousarray(views[starts])

    def spans(self, starts: Rows) -> NDArray[np.float32]:
        """Return copies of windows and the rows behind them, shape ``(n, window + steps, n_features)``."""
        return np.ascontiguousarray(self.series.spans()[starts])

    def subtract_effects(self, effects: NDArray[np.float32] | None) -> WindowSplit:
        """Return the same windows without what the columns known in advance explain of the targets.

        Parameters
        ----------
        effects : ndarray, shape (n_features, n_targets), optional
            Change of a target by each column, in z units.
        """
        if effects is None:
            return self
        z = self.series.z.copy()
        z[:, self.series.targets] -= self.series.z @ effects
        return replace(self, series=replace(self.series, z=z))

    def futures(self, starts: Rows) -> NDArray[np.float32]:
        """Return what followed, shape ``(n, steps, n_targets)``."""
        _, views = self.series.sequences()
        return np.ascontiguousarray(views[starts]).reshape(len(starts), self.series.steps, -1)
