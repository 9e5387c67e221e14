"""A scaled series and the windows over it: what preparing hands to training, judging and saving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.forecasting.data.windows import Floats, Rows, create_direct_sequences

_PIECE = 100_000
MAX_ABS_Z = 1e12
"""z-scores beyond it are no measurements: float32 cannot sum their squares."""


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
        """Fit on rows ``(rows, n_features)``; missing cells are left out."""
        spread = np.nanstd(values, axis=0)
        return cls(np.nanmean(values, axis=0), np.where(spread > 0, spread, 1.0), len(values))

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """z-scores, made piece by piece so that no second float64 copy of the data is held."""
        z = np.empty(values.shape, dtype=np.float32)
        with np.errstate(over="ignore"):  # whoever asks looks for what is beyond FARTHEST
            for start in range(0, len(values), _PIECE):
                piece = slice(start, start + _PIECE)
                z[piece] = (values[piece] - self.mean) / self.scale
        return z

    def inverse_transform(self, z: Floats, columns: list[int]) -> NDArray[np.float64]:
        """Values in the data's units of z-scores ``(…, len(columns))``."""
        back: NDArray[np.float64] = z * self.scale[columns] + self.mean[columns]
        return back


@dataclass(frozen=True)
class ForecastSeries:
    """One dataset's chosen columns as z-scores, with what forecasting needs to know about them.

    Parameters
    ----------
    z : ndarray of float32, shape (rows, n_features)
    targets : tuple of int
        Places of the columns to forecast.
    times : ndarray of int64, shape (rows,), optional
        Nanoseconds since 1970 UTC.
    season : int
        Rows of one season, for the seasonal baseline; 0 where none was found.
    """

    columns: tuple[str, ...]
    targets: tuple[int, ...]
    z: NDArray[np.float32]
    scaler: StandardScaling
    window: int
    steps: int
    times: NDArray[np.int64] | None = None
    step_ns: int | None = None
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
        return tuple(self.columns[place] for place in self.targets)

    @property
    def output_size(self) -> int:
        """Numbers in one forecast."""
        return self.steps * len(self.targets)

    def sequences(self) -> tuple[Floats, Floats]:
        """Histories and flattened futures at every row, as views."""
        return create_direct_sequences(self.z, self.targets, self.window, self.steps)


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

    def subsample(self, most: int) -> WindowSplit:
        """At most so many windows, evenly spread."""
        if len(self) <= most:
            return self
        places = np.linspace(0, len(self) - 1, most).round().astype(np.int64)
        return WindowSplit(self.series, self.starts[places])

    def histories(self, starts: Rows) -> NDArray[np.float32]:
        """Copies of the windows at these rows, shape ``(n, window, n_features)``."""
        views, _ = self.series.sequences()
        return np.ascontiguousarray(views[starts])

    def futures(self, starts: Rows) -> NDArray[np.float32]:
        """What followed, shape ``(n, steps, n_targets)``."""
        _, views = self.series.sequences()
        return np.ascontiguousarray(views[starts]).reshape(len(starts), self.series.steps, -1)
