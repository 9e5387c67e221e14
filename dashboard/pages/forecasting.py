"""Forecasting: data sets and models, and what one model forecasts, beside simple rules and other models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from marshmallow import fields, validate

from api.http.context import identity, manager
from api.http.resource import Query, model_key
from api.models.predict import predict_batch
from dashboard.family_page import MAX_COMPARED, describe_family
from dashboard.figures import Figure, build_forecast_figure
from dashboard.pages.data_sets import upload_hints
from dashboard.resource import HTML, REDIRECT, FormQuery, Pages, render_charts, see_other
from dashboard.versions import VersionSummary, summarize_version
from errors import MillwrightError, NotFound
from prediction import registry
from prediction.contract import JSON, ModelKey
from prediction.forecasting.model.rules import NETWORK
from prediction.forecasting.serving.postprocess import ForecastPrediction
from storage.datasets.facts import TABLE
from training.services.sessions import model_key as model_key_of

forecasting = Pages("forecasting pages", "Forecasts, for people.")

FAMILY: Final = "forecasting"
# Rows before the forecast that a chart shows: so many times its steps, that the forecast can be seen.
HISTORY_PER_STEP, MIN_HISTORY_ROWS, MAX_HISTORY_ROWS = 8, 96, 5_000
MAX_TARGETS: Final = 6
# Newest trainings on a data set among which other models are looked for.
MAX_SESSIONS_SEARCHED: Final = 200
DOWNLOADS: Final = ("model.pth", "scaler.joblib", "model.onnx", "model_info.json")


class ForecastQuery(FormQuery):
    """From which data set, with which interval, and what limit matters."""

    dataset = fields.String(validate=validate.Length(1, 20))
    coverage = fields.Float(load_default=0.9, validate=validate.Range(0.5, 0.99))
    threshold = fields.Float()


@dataclass(frozen=True)
class TrainedCandidate:
    """A version in the comparison, with the architecture that was trained."""

    key: ModelKey
    version: VersionSummary
    architecture: str
    is_serving: bool


@dataclass(frozen=True)
class Forecast:
    """What a model forecasts from the newest rows of a data set, or why it cannot."""

    prediction: ForecastPrediction
    figures: Sequence[Figure]
    warnings: Sequence[str]


@forecasting.operation("/forecasting", HTML)
def get_forecasting() -> str:
    """Show the tables, the models and the trainings of forecasts."""
    return render_template("forecasting/list.html", **describe_family(FAMILY, TABLE), **upload_hints())


@forecasting.operation("/forecasting/train", REDIRECT)
def get_old_training_page() -> ResponseReturnValue:
    """Lead to the page of forecasts, which trains."""
    return see_other("/forecasting")


@forecasting.operation("/forecasting/models/<name>", HTML, query=ForecastQuery)
def get_forecasting_model(query: Query, name: str) -> ResponseReturnValue:
    """Show a model: how it compares, what it forecasts, and its files."""
    key = model_key(FAMILY, name, identity().tenant)
    numbers = list(reversed(manager().models.version_numbers(key)))
    if not numbers:
        raise NotFound(f"There is no model {key} yet")
    champion = manager().models.champion_number(key)
    # Without a champion there is no forecast, but the newest version can be compared and downloaded.
    number = champion or numbers[0]
    info = _read_info(key, number)
    # The data set of the training is only the first choice.
    query = {"dataset": info.get("options", {}).get("dataset"), **query}
    page: dict[str, object] = {"forecast": None, "forecast_error": None}
    if champion is not None and info:
        try:
            page["forecast"] = _forecast(key, info, query)
        except MillwrightError as error:
            page["forecast_error"] = error
    return render_charts(
        "forecasting/model.html",
        key=key,
        info=info,
        number=number,
        champion=champion,
        version=summarize_version(key, number),
        candidates=_list_candidates(key, numbers, champion),
        data_sets=[d for d in manager().datasets.list(identity().tenant) if d.kind == TABLE],
        query=query,
        downloads=DOWNLOADS,
        **page,
    )


def _forecast(key: ModelKey, info: JSON, query: Query) -> Forecast:
    """Forecast from the newest rows of the chosen data set."""
    store, tenant = manager().datasets, identity().tenant
    if query["dataset"] is None:
        raise NotFound("Choose a data set to forecast from")
    total = store.get(query["dataset"], tenant).require_kind(TABLE).facts["rows"]
    shown = min(MAX_HISTORY_ROWS, max(MIN_HISTORY_ROWS, HISTORY_PER_STEP * info["future_steps"]))
    # Rows of the horizon have empty targets, so they are the last ones of the table.
    horizon = info.get("future_rows", 0) if info.get("model_used", NETWORK) == NETWORK else 0
    count = max(info["window_size"], shown) + horizon
    rows = store.preview(query["dataset"], tenant, max(0, total - count), count)["rows"]
    series = {"rows": rows[-info["window_size"] - horizon :], "coverage": query["coverage"]}
    batch = registry.parse_inputs(FAMILY, series)
    options = {"degradation_threshold": query["threshold"]} if "threshold" in query else {}
    result = predict_batch(key, batch, options, is_recorded=False)
    prediction = cast("ForecastPrediction", result.predictions[0])
    past = rows[: len(rows) - horizon][-shown:]
    figures = _draw(info, past, prediction, query.get("threshold"))
    return Forecast(prediction, figures, result.batch.warnings)


def _draw(
    info: JSON, rows: Sequence[Mapping[str, Any]], prediction: ForecastPrediction, threshold: float | None
) -> list[Figure]:
    """Return a chart for each target; rows are counted to the last one where there are no times."""
    names = gettext("measured"), gettext("forecast")
    times = prediction["timestamps"]
    column = info["time_column"]
    past = [row[column].rstrip("Z") for row in rows] if times else list(range(1 - len(rows), 1))
    future = [time.rstrip("Z") for time in times] if times else list(range(1, prediction["steps"] + 1))
    return [
        build_forecast_figure(
            target, names, (past, [row.get(target) for row in rows]), (future, line), threshold
        )
        for target, line in list(prediction["targets"].items())[:MAX_TARGETS]
    ]


def _list_candidates(key: ModelKey, numbers: Sequence[int], champion: int | None) -> list[TrainedCandidate]:
    """Return the versions of a model, and of other models that forecast the same from the same data."""
    shown = list(numbers[: MAX_COMPARED // 2])
    if champion is not None and champion not in shown:
        shown.append(champion)
    own = [_build_candidate(key, number, number == champion) for number in shown]
    newest, others = own[0].version.options, []
    for other, serving in _list_rivals(key, newest.get("dataset")).items():
        # The options say whether it is a rival before anything else of it is read.
        number = serving or max(manager().models.version_numbers(other), default=0)
        if number and _is_same_task(summarize_version(other, number).options, newest):
            others.append(_build_candidate(other, number, serving is not None))
        if len(own) + len(others) == MAX_COMPARED:
            break
    return [*own, *others]


def _list_rivals(key: ModelKey, dataset: str | None) -> dict[ModelKey, int | None]:
    """Return the other models that were trained on a data set, and the version of each that serves."""
    if dataset is None:
        return {}
    trained = manager().sessions.list_summaries(
        key.tenant, FAMILY, limit=MAX_SESSIONS_SEARCHED, dataset=dataset
    )
    keys = dict.fromkeys(model_key_of(session) for session in trained)
    keys.pop(key, None)
    return manager().models.champion_numbers(keys)[0]


def _build_candidate(key: ModelKey, number: int, is_serving: bool) -> TrainedCandidate:
    architecture = _read_info(key, number).get("architecture", "–")
    return TrainedCandidate(key, summarize_version(key, number), architecture, is_serving)


def _is_same_task(options: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    names = ("dataset", "target_columns", "future_steps")
    return all(options.get(name) == others.get(name) for name in names)


def _read_info(key: ModelKey, number: int) -> JSON:
    """Return ``model_info.json`` of a version; nothing where it cannot be read, which its summary says."""
    try:
        path = manager().downloads.file(key, number, "model_info.json")
        info: JSON = json.loads(path.read_text(encoding="utf-8"))
    except (MillwrightError, OSError, ValueError):
        return {}
    return info
