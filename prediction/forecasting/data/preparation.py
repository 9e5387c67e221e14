"""Turn a stored table into scaled windows for training, validation and test, with the split certificate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.contract import Options, TrainingSource
from prediction.forecasting.data.seasonality import find_season_length
from prediction.forecasting.data.series import MAX_ABS_Z, ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.data.windows import (
    Floats,
    Rows,
    build_certificate,
    find_usable_starts,
    hold_out,
    split_in_time,
)
from prediction.forecasting.options import CHANNEL_ARCHITECTURES, DEFAULT_WINDOW
from prediction.neural.data import NeuralData
from prediction.records.fields import MAX_ABS_VALUE
from storage.datasets.facts import TABLE, DatasetFacts
from storage.datasets.store import DatasetStore
from storage.datasets.tables.table import DataTable
from storage.datasets.tables.validation import find_extreme_rows
from storage.times import format_nanoseconds

_MIN_WINDOW, _MAX_WINDOW = 2, 720
# A default window reaches back over the sixteenth part of a table, or over so many seasons.
_WINDOW_SHARE = 16
_WINDOW_SEASONS = 8
_MAX_NAMED_CELLS = 5
_HUGE = 1e20
# Huge cells, so many times as far from the median as most others, make the others look alike in float32.
_HIDING_RATIO = 1e6
_STOPPING = {"unordered_timestamps", "duplicate_timestamps", "unreadable_timestamps"}


@dataclass(frozen=True, kw_only=True)
class PreparedForecastData(NeuralData):
    """The windows of one training.

    Parameters
    ----------
    development : WindowSplit
        Those whose future ends before the test part: what may be used to choose.
    whole : WindowSplit
        All of them, for the second fit after the evaluation.
    """

    train: WindowSplit
    validation: WindowSplit
    test: WindowSplit
    development: WindowSplit
    whole: WindowSplit


def prepare(
    source: TrainingSource, options: Options, checkpoints: Path | None = None
) -> PreparedForecastData:
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
    dataset = DatasetStore(Path(source["datasets"])).get(options["dataset"], source["tenant"])
    facts, table, steps = dataset.facts, dataset.table(), options["future_steps"]
    check_dataset(facts, options)
    columns = select_features(facts, options)
    values = np.ascontiguousarray(table.values[:, [table.columns.index(name) for name in columns]])
    _refuse_extremes(columns, values, np.abs(values) > MAX_ABS_VALUE)
    _refuse_extremes(columns, values, _find_hiding_cells(values))
    validation_start, test_start = hold_out(table.rows, steps)
    season = _find_season(table, values[: max(validation_start, 1)], columns, options)
    window = options["window_size"] or default_window(table.rows, validation_start, steps, season)
    is_complete = np.isfinite(values[:, _list_used_columns(columns, options)]).all(axis=1)
    follows = table.regular_steps(options.get("time_zone"))
    starts = find_usable_starts(np.asarray(is_complete), follows, window + steps)
    parts = _split(starts, columns, values, window, steps)
    certificate = build_certificate(parts, window, steps)
    scaler = StandardScaling.fit(values[: max(last for _, last in certificate.train) + 1])
    z = scaler.transform(values)
    _refuse_extremes(columns, values, np.abs(z) > MAX_ABS_Z)
    series = ForecastSeries(
        columns=columns,
        targets=_find_columns(columns, options["target_columns"]),
        z=np.nan_to_num(z),
        scaler=scaler,
        window=window,
        steps=steps,
        future=_find_columns(columns, options.get("future_columns") or ()),
        times=table.times,
        step=table.detect_step(options.get("time_zone")),
        time_column=table.time_column,
        time_format=table.time_format,
        season=season,
    )
    return PreparedForecastData(
        train=WindowSplit(series, parts[0]),
        validation=WindowSplit(series, parts[1]),
        test=WindowSplit(series, parts[2]),
        development=WindowSplit(series, starts[starts + window + steps <= test_start]),
        whole=WindowSplit(series, starts),
        certificate=certificate,
        fingerprint=_compute_fingerprint(values, table.times, columns),
        rows=table.rows,
        facts=_describe(facts, series, parts, certificate.validation[-1][1]),
        checkpoints=checkpoints,
    )


def check_dataset(facts: DatasetFacts, options: Options) -> None:
    """Refuse what no training could use, from the dataset's facts alone.

    Raises
    ------
    InvalidContent
        It is no table, a column does not exist or holds text, or rows are not in order of time.
    """
    if facts["kind"] != TABLE:
        raise InvalidContent(f"Dataset {facts['id']} is of kind {facts['kind']}; this needs a table")
    names = {
        *options["target_columns"],
        *(options["feature_columns"] or []),
        *(options.get("future_columns") or []),
    }
    if unknown := sorted(names - set(facts["numeric"])):
        raise InvalidContent(
            f"The dataset has no numeric column {', '.join(map(repr, unknown))}; "
            f"there are: {', '.join(facts['numeric'])}"
        )
    used = names if options["feature_columns"] else set(facts["numeric"])
    for finding in facts["findings"]:
        if finding["code"] == "placeholder_values" and finding["column"] in used:
            raise InvalidContent(
                f"{finding['message']} (row {finding['rows'][0]}). Ask for the fix {finding['fix']}, or leave "
                "the column out of feature_columns"
            )
    stopping = [finding for finding in facts["findings"] if finding["code"] in _STOPPING]
    if stopping:
        reasons = "; ".join(f"{finding['message']} (row {finding['rows'][0]})" for finding in stopping)
        fixes = ", ".join(str(finding["fix"]) for finding in stopping)
        raise InvalidContent(f"The rows are not in order of time: {reasons}. Ask for the fixes: {fixes}")


def select_features(facts: DatasetFacts, options: Options) -> tuple[str, ...]:
    """Return the columns a network sees, in the table's order: all numbers, or the chosen ones."""
    chosen = {
        *(options["feature_columns"] or facts["numeric"]),
        *options["target_columns"],
        *(options.get("future_columns") or ()),
    }
    return tuple(name for name in facts["numeric"] if name in chosen)


def _find_columns(columns: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    return tuple(columns.index(name) for name in names)


def _list_used_columns(columns: Sequence[str], options: Options) -> list[int]:
    """Return the columns that the network looks at; others may have missing cells."""
    if options["architecture"] not in CHANNEL_ARCHITECTURES:
        return list(range(len(columns)))
    return list(_find_columns(columns, [*options["target_columns"], *(options.get("future_columns") or ())]))


def _find_season(
    table: DataTable, training: NDArray[np.float64], columns: Sequence[str], options: Options
) -> int:
    """Return the season of the first target's training rows: nothing is learnt from what is tested."""
    step = table.detect_step(options.get("time_zone"))
    target = training[:, columns.index(options["target_columns"][0])]
    return find_season_length(target, step.seasons() if step else ())


def default_window(rows: int, training_rows: int, steps: int, season: int) -> int:
    """Return the rows of a window that no option states, from 50 to 720.

    A sixteenth of the table, or eight seasons where those are more; but at most half of the training rows, so that
    a short table leaves enough windows to learn from.
    """
    wanted = min(max(rows // _WINDOW_SHARE, _WINDOW_SEASONS * season, DEFAULT_WINDOW), _MAX_WINDOW)
    longest = min(max(training_rows // 2, _MIN_WINDOW), training_rows - steps)
    return min(wanted, longest) if longest >= _MIN_WINDOW else DEFAULT_WINDOW


def _split(
    starts: Rows, columns: Sequence[str], values: Floats, window: int, steps: int
) -> tuple[Rows, Rows, Rows]:
    """Split the windows; where empty cells leave a part without one, name the columns that have most."""
    try:
        return split_in_time(starts, len(values), window, steps)
    except NotEnoughData as error:
        empty = np.isnan(values).sum(axis=0)
        emptiest = [column for column in np.argsort(-empty)[:_MAX_NAMED_CELLS] if empty[column]]
        if not emptiest:
            raise
        counts = ", ".join(f"{columns[column]!r} {empty[column]:,}" for column in emptiest)
        raise NotEnoughData(
            f"{error.message} Windows over empty cells are left out; most are in: {counts}. "
            "Ask for the fix interpolate_missing_cells, or leave columns out of feature_columns."
        ) from error


def _find_hiding_cells(values: Floats) -> NDArray[np.bool_]:
    """Mark huge cells next to which a column's other cells would all look the same to a network."""
    is_huge = np.abs(values) > _HUGE
    hiding = np.zeros(values.shape, dtype=bool)
    for column in np.flatnonzero(is_huge.any(axis=0)):
        hiding[find_extreme_rows(values[:, column], _HIDING_RATIO), column] = True
    return hiding & is_huge


def _refuse_extremes(columns: Sequence[str], values: Floats, is_extreme: NDArray[np.bool_]) -> None:
    """Refuse extreme cells; a few of each column are named."""
    reports = []
    for column, name in enumerate(columns):
        rows = np.flatnonzero(is_extreme[:, column])
        if len(rows):
            cells = ", ".join(f"row {row + 1} ({values[row, column]:g})" for row in rows[:_MAX_NAMED_CELLS])
            rest = len(rows) - _MAX_NAMED_CELLS
            reports.append(f"{name!r} in {cells}" + (f" and {rest:,} more" if rest > 0 else ""))
    if reports:
        raise InvalidContent(
            f"Cells are too extreme to compute with: {'; '.join(reports)}. "
            "Correct or empty them and send the data again"
        )


def _compute_fingerprint(
    values: NDArray[np.float64], times: NDArray[np.int64] | None, columns: Sequence[str]
) -> str:
    digest = hashlib.sha256(json.dumps(columns).encode())
    digest.update(values.data)
    if times is not None:
        digest.update(np.ascontiguousarray(times).data)
    return digest.hexdigest()


def _describe(
    facts: DatasetFacts, series: ForecastSeries, parts: tuple[Rows, Rows, Rows], known_until: int
) -> dict[str, object]:
    times = series.times
    return {
        "dataset": facts["id"],
        "dataset_sha256": facts["sha256"],
        "dataset_name": facts["name"],
        "first": None if times is None else format_nanoseconds(int(times[0])),
        "last": None if times is None else format_nanoseconds(int(times[-1])),
        # A later training compares this model only on rows after these.
        "known_until": None if times is None else int(times[known_until]),
        "known_until_row": known_until,
        "windows": dict(zip(("train", "validation", "test"), map(len, parts), strict=True)),
        "season": series.season,
        "columns": list(series.columns),
        "targets": list(series.target_names),
    }
