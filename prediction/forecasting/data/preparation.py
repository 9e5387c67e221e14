"""A stored dataset into scaled windows for training, validation and test, with the split certificate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.contract import JSON, PreparedData
from prediction.forecasting.data.series import MAX_ABS_Z, ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.data.windows import (
    Floats,
    Rows,
    build_certificate,
    find_usable_starts,
    split_in_time,
)
from prediction.forecasting.options import DEFAULT_WINDOW
from prediction.records.fields import MAX_ABS_VALUE
from storage.datasets.facts import DatasetFacts
from storage.datasets.store import Dataset, DatasetStore
from storage.datasets.tables.table import DataTable
from storage.datasets.tables.validation import find_extreme_rows
from storage.times import DAY_NS, format_nanoseconds

_LEAST_CORRELATION = 0.3
_LONGEST_SEASON = 2_000
_LONGEST_WINDOW = 720
_SHORTEST_WINDOW = 2
_CELLS_NAMED = 5
_HUGE = 1e20
_TIMES_FARTHER = 1e6


@dataclass(frozen=True, kw_only=True)
class PreparedForecastData(PreparedData):
    """With the folder in which a training leaves its epochs, so that it can go on after a cut."""

    train: WindowSplit
    validation: WindowSplit
    test: WindowSplit
    checkpoints: Path | None = None


def prepare(source: JSON, options: JSON, checkpoints: Path | None = None) -> PreparedForecastData:
    """Read the dataset that the options name, below the folder that the source names.

    Raises
    ------
    NotFound
        There is no such dataset.
    InvalidContent
        A column does not exist, rows are not in order of time, or cells are too extreme to compute with.
    NotEnoughData
        A part of the split would have no window.
    """
    dataset = (
        DatasetStore(Path(source["datasets"])).get(options["dataset"], source["tenant"]).require_kind("table")
    )
    table = dataset.table()
    check(dataset.facts, options)
    columns = feature_columns(dataset.facts, options)
    values = np.ascontiguousarray(table.values[:, [table.columns.index(name) for name in columns]])
    _refuse_extremes(columns, values, np.abs(values) > MAX_ABS_VALUE)
    _refuse_extremes(columns, values, _hiding_all_else(values))
    window = options["window_size"] or default_window(table.rows, options["future_steps"])
    span = window + options["future_steps"]
    usable: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=1)
    starts = find_usable_starts(usable, table.regular_steps(), span)
    parts = _split(starts, columns, values, span)
    certificate = build_certificate(parts, span)
    last_of_training = max(last for _, last in certificate.train)
    series = _series(table, columns, values, last_of_training, {**options, "window_size": window})
    _refuse_extremes(columns, values, np.abs(series.z) > MAX_ABS_Z)
    return PreparedForecastData(
        checkpoints=checkpoints,
        train=WindowSplit(series, parts[0]),
        validation=WindowSplit(series, parts[1]),
        test=WindowSplit(series, parts[2]),
        certificate=certificate,
        fingerprint=_fingerprint(values, table.times, columns),
        rows=table.rows,
        facts=_facts(dataset, series, parts, certificate.validation[-1][1]),
    )


def check(dataset: DatasetFacts, options: JSON) -> None:
    """Refuse what no training could use, from the dataset's facts alone.

    Raises
    ------
    InvalidContent
        A column does not exist or holds text, or rows are not in order of time.
    """
    asked = [*options["target_columns"], *(options["feature_columns"] or [])]
    if unknown := sorted({name for name in asked if name not in dataset["numeric"]}):
        raise InvalidContent(
            f"The dataset has no numeric column {', '.join(map(repr, unknown))}; "
            f"there are: {', '.join(dataset['numeric'])}"
        )
    wrong = [f for f in dataset["findings"] if f["code"] in _STOPPING]
    if wrong:
        reasons = "; ".join(f"{finding['message']} (row {finding['rows'][0]})" for finding in wrong)
        fixes = ", ".join(str(finding["fix"]) for finding in wrong)
        raise InvalidContent(f"The rows are not in order of time: {reasons}. Ask for the fixes: {fixes}")


_STOPPING = {"unordered_timestamps", "duplicate_timestamps", "unreadable_timestamps"}


def _split(starts: Rows, columns: tuple[str, ...], values: Floats, span: int) -> tuple[Rows, Rows, Rows]:
    """The three parts; where empty cells leave one without a window, the columns that have most are told."""
    try:
        return split_in_time(starts, len(values), span)
    except NotEnoughData as error:
        empty = np.isnan(values).sum(axis=0)
        most = [place for place in np.argsort(-empty)[:_CELLS_NAMED] if empty[place]]
        worst = ", ".join(f"{columns[place]!r} {empty[place]:,}" for place in most)
        if not worst:
            raise
        raise NotEnoughData(
            f"{error.message} Windows over empty cells are left out; most are in: {worst}. "
            "Ask for the fix interpolate_missing_cells, or leave columns out of feature_columns."
        ) from error


def _hiding_all_else(values: Floats) -> NDArray[np.bool_]:
    """Huge cells beside which a column's other cells would all look the same to a network."""
    hiding = np.zeros(values.shape, dtype=bool)
    for place in np.flatnonzero((np.abs(values) > _HUGE).any(axis=0)):
        hiding[find_extreme_rows(values[:, place], _TIMES_FARTHER), place] = True
    return hiding & (np.abs(values) > _HUGE)


def _refuse_extremes(columns: tuple[str, ...], values: Floats, extreme: NDArray[np.bool_]) -> None:
    """Name the extreme cells, a few of each column."""
    told = []
    for place, name in enumerate(columns):
        rows = np.flatnonzero(extreme[:, place])
        if len(rows):
            few = ", ".join(f"row {row + 1} ({values[row, place]:g})" for row in rows[:_CELLS_NAMED])
            rest = f" and {len(rows) - _CELLS_NAMED:,} more" if len(rows) > _CELLS_NAMED else ""
            told.append(f"{name!r} in {few}{rest}")
    if told:
        raise InvalidContent(
            f"Cells are too extreme to compute with: {'; '.join(told)}. "
            "Correct or empty them and send the data again"
        )


def feature_columns(dataset: DatasetFacts, options: JSON) -> tuple[str, ...]:
    """The columns a network sees, in the table's order: all numbers, or the chosen ones and the targets."""
    chosen = options["feature_columns"] or dataset["numeric"]
    return tuple(n for n in dataset["numeric"] if n in chosen or n in options["target_columns"])


def default_window(rows: int, steps: int) -> int:
    """Rows that a window may reach back where nobody said: a sixteenth of the table, from 50 to 720.

    A short table's window is shorter, so that each of the three parts has one.
    """
    wished = min(max(rows // 16, DEFAULT_WINDOW), _LONGEST_WINDOW)
    fitting = rows // 3 - steps
    return min(wished, fitting) if fitting >= _SHORTEST_WINDOW else DEFAULT_WINDOW


def find_season_length(values: NDArray[np.float64], step_ns: int | None) -> int:
    """Rows of one season: a day or a week where the step divides it, else the strongest autocorrelation.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        One target's training rows, without gaps where possible.
    """
    correlation = _autocorrelation(values)
    for period in (DAY_NS, 7 * DAY_NS):
        rows = period // step_ns if step_ns else 0
        if 1 < rows < len(correlation) and correlation[rows] > _LEAST_CORRELATION:
            return int(rows)
    inner = correlation[1:-1]
    peaks = np.flatnonzero(
        (inner > correlation[:-2]) & (inner >= correlation[2:]) & (inner > _LEAST_CORRELATION)
    )
    return int(peaks[inner[peaks].argmax()]) + 1 if len(peaks) else 0


def _autocorrelation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the series without its straight line, for lags up to a third of it."""
    recent = values[-20 * _LONGEST_SEASON :]
    recent = np.where(np.isfinite(recent), recent, np.nanmean(recent))
    position = np.arange(len(recent))
    level = recent - np.polyval(np.polyfit(position, recent, 1), position)
    spectrum = np.fft.rfft(level, 2 * len(level))
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: min(len(level) // 3, _LONGEST_SEASON) + 1]
    return products / products[0] if products[0] > 0 else np.zeros_like(products)


def _series(
    table: DataTable,
    columns: tuple[str, ...],
    values: NDArray[np.float64],
    last_of_training: int,
    options: JSON,
) -> ForecastSeries:
    targets = tuple(columns.index(name) for name in options["target_columns"])
    training = values[: last_of_training + 1]
    scaler = StandardScaling.fit(training)
    return ForecastSeries(
        columns=columns,
        targets=targets,
        z=np.nan_to_num(scaler.transform(values)),
        scaler=scaler,
        window=options["window_size"],
        steps=options["future_steps"],
        times=table.times,
        step_ns=table.frequency_ns,
        time_column=table.time_column,
        time_format=table.time_format,
        season=find_season_length(training[:, targets[0]], table.frequency_ns),
    )


def _fingerprint(
    values: NDArray[np.float64], times: NDArray[np.int64] | None, columns: tuple[str, ...]
) -> str:
    digest = hashlib.sha256(json.dumps(columns).encode())
    digest.update(values.data)
    if times is not None:
        digest.update(np.ascontiguousarray(times).data)
    return digest.hexdigest()


def _facts(
    dataset: Dataset, series: ForecastSeries, parts: tuple[NDArray[np.int64], ...], known_until: int
) -> JSON:
    times = series.times
    return {
        "dataset": dataset.id,
        "dataset_sha256": dataset.facts["sha256"],
        "dataset_name": dataset.facts["name"],
        "first": None if times is None else format_nanoseconds(int(times[0])),
        "last": None if times is None else format_nanoseconds(int(times[-1])),
        "known_until": None if times is None else int(times[known_until]),
        "known_until_row": known_until,
        "windows": dict(zip(("train", "validation", "test"), map(len, parts), strict=True)),
        "season": series.season,
        "columns": list(series.columns),
        "targets": list(series.target_names),
    }
