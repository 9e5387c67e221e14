"""Figures for plotly.js, built from what the services return. The browser adds the colours of its theme.

A figure is plain JSON: `dashboard/static/charts.js` fetches it from the address in an element's ``data-figure``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from dashboard.labels import label_anomaly_type, label_severity
from prediction.contract import JSON
from prediction.damage.spectrograms.picture import LevelPicture
from prediction.forecasting.serving.postprocess import TargetForecast
from prediction.sensors.anomaly.detector import Detection
from prediction.sensors.drift.model import DriftPoint
from storage.db.crud import Row
from storage.sensors.charts import ChartColumns
from storage.sensors.readings import from_microseconds

Tone = Literal["accent", "soft", "bad", "good"]
MAX_EPOCHS_DRAWN: Final = 1_000
# Curves with fewer points show each.
MIN_POINTS_OF_A_LINE: Final = 30
_CURVE_TONES: Final[Sequence[Tone]] = ("accent", "soft", "good", "bad")
_CURVE_DASHES: Final = ("solid", "dash", "dashdot", "longdash")
_SPARK_WIDTH, _SPARK_HEIGHT = 100, 24


class Trace(TypedDict):
    """One line, band edge or set of markers, in plotly's words; ``tone`` becomes a colour in the browser."""

    name: str
    x: Sequence[object]
    y: Sequence[float | str | None]
    mode: str
    tone: Tone
    text: NotRequired[Sequence[str]]
    fill: NotRequired[str]
    dash: NotRequired[str]
    symbol: NotRequired[str]
    is_in_legend: NotRequired[bool]
    is_band: NotRequired[bool]


class Level(TypedDict):
    """A horizontal line."""

    name: str
    y: float
    tone: Tone


class Figure(TypedDict):
    """A chart over time, or over numbers where ``x_type`` says so."""

    title: str
    y_title: str
    traces: list[Trace]
    levels: list[Level]
    x_type: NotRequired[Literal["date", "linear"]]
    x_title: NotRequired[str]


class Heatmap(TypedDict):
    """An image of levels: ``z`` has a row for each ``y``."""

    title: str
    x_title: str
    y_title: str
    x: Sequence[float]
    y: Sequence[float]
    z: Sequence[Sequence[float]]


def build_readings_figure(
    title: str,
    sensor: Row,
    columns: ChartColumns,
    episodes: Iterable[Row],
    band: tuple[NDArray[np.int64], Sequence[Detection]] | None = None,
) -> Figure:
    """Return a sensor's readings with its limits, its anomalies and the band that its model expects.

    Parameters
    ----------
    columns : ChartColumns
        The readings by pixel column.
    episodes : iterable of Row
        The anomalies of the period.
    band : tuple, optional
        Times in microseconds since 1970, and the detections at them.
    """
    times = np.column_stack([columns.first, columns.last]).ravel().tolist()
    values = np.column_stack([columns.low, columns.high]).ravel().tolist()
    traces: list[Trace] = []
    if band is not None:
        traces += _band_traces(
            [_iso(from_microseconds(int(time))) for time in band[0]],
            [detection.get("expected_low") for detection in band[1]],
            [detection.get("expected_high") for detection in band[1]],
        )
    readings: Trace = {
        "name": sensor["name"],
        "x": [_iso(from_microseconds(time)) for time in times],
        "y": values,
        "mode": "lines",
        "tone": "accent",
    }
    traces.append(readings)
    shown = list(episodes)
    if shown:
        traces.append(
            {
                "name": "anomalies",
                "x": [_iso(episode["timestamp"]) for episode in shown],
                "y": [episode["value"] for episode in shown],
                "mode": "markers",
                "tone": "bad",
                "text": [
                    f"{label_anomaly_type(episode['type'])}, {label_severity(episode['severity'])}"
                    for episode in shown
                ],
            }
        )
    limits = (("min_value", "bad"), ("nominal_value", "soft"), ("max_value", "bad"))
    levels: list[Level] = [
        {"name": name, "y": sensor[name], "tone": "bad" if tone == "bad" else "soft"}
        for name, tone in limits
        if sensor[name] is not None
    ]
    return {"title": title, "y_title": sensor["unit"], "traces": traces, "levels": levels}


def build_drift_figure(title: str, points: Sequence[DriftPoint]) -> Figure:
    """Return a forecast of drift, in per cent, with its interval where one was measured."""
    times = [_iso(from_microseconds(int(point["time"] * 1e6))) for point in points]
    band = _band_traces(times, [point["low"] for point in points], [point["high"] for point in points])
    forecast: Trace = {
        "name": title,
        "x": times,
        "y": [point["drift"] for point in points],
        "mode": "lines",
        "tone": "accent",
    }
    return {"title": title, "y_title": "%", "traces": [*band, forecast], "levels": []}


def build_calibration_figure(
    names: CalibrationNames,
    unit: str,
    curve: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    pairs: Sequence[tuple[float, float]],
) -> Figure:
    """Return the corrected value by the reading, with its uncertainty and the calibrations that people made.

    Parameters
    ----------
    curve : tuple of three arrays, shape (n,)
        Readings, corrected values, and their expanded uncertainties.
    pairs : sequence of tuple
        Readings before past calibrations, and the true values that these found.
    """
    raw, corrected, uncertainty = curve
    x = raw.tolist()
    traces = _band_traces(x, (corrected - uncertainty).tolist(), (corrected + uncertainty).tolist())
    traces.append(_name_trace(names["curve"], x, corrected.tolist(), "lines", "accent"))
    traces.append({**_name_trace(names["raw"], x, x, "lines", "soft"), "dash": "dot"})
    if pairs:
        measured, true = zip(*pairs, strict=True)
        traces.append(_name_trace(names["pairs"], measured, true, "markers", "good"))
    return {
        "title": names["curve"],
        "y_title": unit,
        "traces": traces,
        "levels": [],
        "x_type": "linear",
        "x_title": f"{names['reading']} ({unit})" if unit else names["reading"],
    }


def build_channel_figure(title: str, times: NDArray[np.int64], values: NDArray[np.float64]) -> Figure:
    """Return one channel of a device; rows without a value of it are left out.

    Parameters
    ----------
    times, values : shape (n,)
        Microseconds since 1970, and the values, NaN where there is none.
    """
    is_known = ~np.isnan(values)
    trace: Trace = {
        "name": title,
        "x": [_iso(from_microseconds(time)) for time in times[is_known].tolist()],
        "y": values[is_known].tolist(),
        "mode": "lines",
        "tone": "accent",
    }
    return {"title": title, "y_title": "", "traces": [trace], "levels": []}


def build_history_figure(
    title: str, x_title: str, entries: Sequence[Mapping[str, object]], lines: Mapping[str, str]
) -> Figure:
    """Return what a training measured at the end of each epoch.

    Parameters
    ----------
    entries : sequence of mapping
        What each epoch announced; ``epoch`` is its number.
    lines : mapping of str to str
        Names of the lines by the fact that each shows; the second one is dotted, so that colours do not count.
    """
    step = max(1, len(entries) // MAX_EPOCHS_DRAWN)
    shown = [*entries[:-1:step], *entries[-1:]]
    traces: list[Trace] = []
    for number, (fact, name) in enumerate(lines.items()):
        values = [entry.get(fact) for entry in shown]
        if any(value is not None for value in values):
            traces.append(
                {
                    "name": name,
                    "x": [entry.get("epoch") for entry in shown],
                    "y": [float(value) if isinstance(value, int | float) else None for value in values],
                    # A line of one point cannot be seen.
                    "mode": "lines" if len(shown) > 1 else "markers",
                    "tone": "soft" if number == 0 else "accent",
                    "dash": "dot" if number == 0 else "solid",
                    "is_in_legend": True,
                }
            )
    return {
        "title": title,
        "y_title": "",
        "traces": traces,
        "levels": [],
        "x_type": "linear",
        "x_title": x_title,
    }


def build_forecast_figure(
    title: str,
    names: tuple[str, str],
    past: tuple[Sequence[object], Sequence[float | None]],
    future: tuple[Sequence[object], TargetForecast],
    threshold: float | None,
) -> Figure:
    """Return the newest rows of a series, its forecast with the interval, and a threshold.

    Parameters
    ----------
    names : tuple of str
        What the past and the forecast are called in the legend.
    past, future : tuple
        Times, or row numbers where there are none, and the values at them.
    """
    times, forecast = future
    traces = _band_traces(times, forecast["lower"], forecast["upper"])
    traces += [
        {
            "name": names[0],
            "x": past[0],
            "y": past[1],
            "mode": "lines",
            "tone": "soft",
            "is_in_legend": True,
        },
        {
            "name": names[1],
            "x": times,
            "y": forecast["values"],
            "mode": "lines",
            "tone": "accent",
            "dash": "dash",
            "is_in_legend": True,
        },
    ]
    levels: list[Level] = [] if threshold is None else [{"name": "threshold", "y": threshold, "tone": "bad"}]
    is_dated = bool(times) and isinstance(times[0], str)
    figure: Figure = {"title": title, "y_title": title, "traces": traces, "levels": levels}
    return figure if is_dated else {**figure, "x_type": "linear", "x_title": ""}


class CalibrationNames(TypedDict):
    """What the lines and the axis of a calibration are called."""

    curve: str
    raw: str
    pairs: str
    reading: str


class LifeNames(TypedDict):
    """What the lines of a device's remaining life are called."""

    now: str
    past: str
    truth: str


def build_life_figure(
    title: str,
    names: LifeNames,
    run: Sequence[JSON],
    past: Sequence[tuple[int, float]],
    ends: Sequence[tuple[int, bool]],
) -> Figure:
    """Return the hours left of a device over time.

    Parameters
    ----------
    run : sequence of dict
        Predictions at moments of the current run.
    past : sequence of tuple
        Stored predictions: microseconds since 1970, and hours.
    ends : sequence of tuple
        Ends of runs, and whether each was a failure; predictions before a failure are drawn beside what came.
    """
    times = [str(prediction["as_of"])[:19] for prediction in run]
    traces = _band_traces(
        times,
        [prediction["interval"]["lower"] for prediction in run],
        [prediction["interval"]["upper"] for prediction in run],
    )
    if run:
        hours = [prediction["rul_hours"] for prediction in run]
        traces.append(_name_trace(names["now"], times, hours, "lines", "accent"))
    if past:
        moments = [_iso(from_microseconds(time)) for time, _ in past]
        traces.append(_name_trace(names["past"], moments, [hours for _, hours in past], "markers", "bad"))
    # The first end at or after the moment: only a failure tells how long the device really had.
    truth = [
        (_iso(from_microseconds(time)), (end[0] - time) / 3.6e9)
        for time, _ in past
        if (end := min((end for end in ends if end[0] >= time), default=None)) and end[1]
    ]
    if truth:
        x, y = zip(*truth, strict=True)
        traces.append({**_name_trace(names["truth"], x, y, "markers", "good"), "symbol": "x"})
    return {"title": title, "y_title": "h", "traces": traces, "levels": []}


def _name_trace(
    name: str, x: Sequence[object], y: Sequence[float | str | None], mode: str, tone: Tone
) -> Trace:
    return {"name": name, "x": x, "y": y, "mode": mode, "tone": tone, "is_in_legend": True}


def build_evaluation_figure(figure: Mapping[str, Any]) -> Figure:
    """Return a chart of curves that a version was stored with (`prediction.figures.line`)."""
    traces: list[Trace] = []
    for number, series in enumerate(figure["series"]):
        traces.append(
            {
                "name": series["name"],
                "x": series["x"],
                "y": series["y"],
                "mode": "lines+markers" if len(series["x"]) < MIN_POINTS_OF_A_LINE else "lines",
                "tone": _CURVE_TONES[number % len(_CURVE_TONES)],
                "dash": _CURVE_DASHES[number % len(_CURVE_DASHES)],
                "is_in_legend": True,
            }
        )
    if figure.get("diagonal"):
        values = [value for series in figure["series"] for value in series["x"] if value is not None]
        ends = [min(values, default=0.0), max(values, default=1.0)]
        traces.append({"name": "y = x", "x": ends, "y": ends, "mode": "lines", "tone": "soft", "dash": "dot"})
    return {
        "title": figure["title"],
        "y_title": figure["y_label"],
        "traces": traces,
        "levels": [],
        "x_type": "linear",
        "x_title": figure["x_label"],
    }


def build_timeline_figure(title: str, x_title: str, timeline: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the class of each window of a recording over time; classes are heights, not colours."""
    trace: Trace = {
        "name": title,
        "x": [entry["from_seconds"] for entry in timeline],
        "y": [entry["class"] for entry in timeline],
        "text": [f"{entry['probability']:.0%}" for entry in timeline],
        "mode": "markers",
        "tone": "accent",
    }
    return {
        "title": title,
        "y_title": "",
        "traces": [trace],
        "levels": [],
        "x_type": "linear",
        "x_title": x_title,
    }


def build_spectrogram_figure(title: str, axes: tuple[str, str], picture: LevelPicture) -> Heatmap:
    """Return the levels of a recording over time and frequency."""
    return {
        "title": title,
        "x_title": axes[0],
        "y_title": axes[1],
        "x": picture.seconds.round(4).tolist(),
        "y": picture.bands.round(1).tolist(),
        "z": picture.levels.astype(np.float64).round(2).tolist(),
    }


def sparkline(values: NDArray[np.float64]) -> str:
    """Return the path of a small line through values, in a box of 100 by 24; empty for fewer than two."""
    if len(values) < 2:
        return ""
    low, span = float(values.min()), float(np.ptp(values)) or 1.0
    x = np.linspace(0, _SPARK_WIDTH, len(values))
    # Two units of room above and below, so that the line is not cut at its extremes.
    y = _SPARK_HEIGHT - 2 - (values - low) / span * (_SPARK_HEIGHT - 4)
    points = (f"{across:.1f},{down:.1f}" for across, down in zip(x.tolist(), y.tolist(), strict=True))
    return "M" + "L".join(points)


def _band_traces(
    times: Sequence[object], low: Sequence[float | None], high: Sequence[float | None]
) -> list[Trace]:
    """Return the edges of a band, the upper one filled down to the lower one."""
    if all(value is None for value in low):
        return []
    return [
        {"name": "band-low", "x": times, "y": low, "mode": "lines", "tone": "soft", "is_band": True},
        {
            "name": "band",
            "x": times,
            "y": high,
            "mode": "lines",
            "tone": "soft",
            "fill": "tonexty",
            "is_band": True,
        },
    ]


def _iso(moment: datetime) -> str:
    # plotly.js shows times as they are written: without an offset, in UTC.
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
