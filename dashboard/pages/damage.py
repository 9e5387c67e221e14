"""Damage: classify a recording, and see how sure a model is and what it confuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from api.http.context import identity, load_champion, manager
from api.http.request_body import read_upload
from api.http.resource import model_key
from api.http.schemas import load_document
from api.models.predict import PredictionResult, predict_batch
from dashboard.family_page import describe_family
from dashboard.figures import (
    Figure,
    Heatmap,
    build_evaluation_figure,
    build_spectrogram_figure,
    build_timeline_figure,
)
from dashboard.pages.data_sets import upload_hints
from dashboard.resource import FILE_FORM, HTML, Pages, drop_empty, render_charts
from dashboard.versions import summarize_version
from errors import MillwrightError, NotFound
from prediction import registry
from prediction.contract import ModelKey, RecordBatch, Upload
from prediction.damage.query_options import DamageQueryOptions
from prediction.damage.serving.predictor import DamagePredictor
from prediction.damage.spectrograms.picture import draw_levels
from storage.datasets.facts import RECORDINGS

damage = Pages("damage pages", "Damage in recordings, for people.")

FAMILY: Final = "damage"
RATE: Final = "sampling_rate_hz"
DOWNLOADS: Final = ("model.onnx", "model.pth", "model_info.json")


@dataclass(frozen=True)
class Classification:
    """What a model says of a recording, with the picture that it was shown."""

    file_name: str
    result: PredictionResult
    spectrogram: Heatmap | None
    timeline: Figure

    @property
    def prediction(self) -> Mapping[str, Any]:
        """The prediction."""
        return self.result.predictions[0]


@damage.operation("/damage", HTML)
def get_damage() -> str:
    """Show the recordings, the models and the trainings of damage detection."""
    return render_template("damage/list.html", **describe_family(FAMILY, RECORDINGS), **upload_hints())


@damage.operation("/damage/models/<name>", HTML)
def get_damage_model(name: str) -> ResponseReturnValue:
    """Show a model: what it confuses, how sure it may be, and a form that classifies a recording."""
    return _render(_existing_key(name))


@damage.operation(
    "/damage/models/<name>/classify", HTML, method="POST", role="read", body=FILE_FORM, errors=(409, 422)
)
def classify_on_page(name: str) -> ResponseReturnValue:
    """Classify a recording, and show the model with the result."""
    key = _existing_key(name)
    try:
        file = read_upload("recording")
        batch = registry.parse_inputs(FAMILY, Upload(file.read(), file.filename or ""))
        sent = {name: text for name, text in request.form.items() if name == RATE}
        query = load_document(DamageQueryOptions, drop_empty(DamageQueryOptions(), sent))
        result = predict_batch(key, batch, query)
        (prediction,) = result.predictions
        classification = Classification(
            file.filename or "",
            result,
            _draw_spectrogram(key, result, batch, query.get(RATE)),
            build_timeline_figure(gettext("Timeline"), gettext("seconds"), prediction["timeline"]),
        )
    except MillwrightError as error:
        return make_response(_render(key, error=error), error.status)
    return _render(key, classification)


def _render(
    key: ModelKey, classification: Classification | None = None, error: MillwrightError | None = None
) -> ResponseReturnValue:
    numbers = manager().models.version_numbers(key)
    champion = manager().models.champion_number(key)
    # The version that has answered, though another one may have been promoted since.
    number = classification.result.version if classification else champion or numbers[-1]
    version = summarize_version(key, number)
    return render_charts(
        "damage/model.html",
        key=key,
        number=number,
        champion=champion,
        version=version,
        matrices=[figure for figure in version.figures if figure.get("kind") == "confusion"],
        curves=[
            build_evaluation_figure(figure) for figure in version.figures if figure.get("kind") == "line"
        ],
        classification=classification,
        error=error,
        downloads=[file for file in DOWNLOADS if file in version.files],
    )


def _existing_key(name: str) -> ModelKey:
    key = model_key(FAMILY, name, identity().tenant)
    if not manager().models.exists(key):
        raise NotFound(f"There is no model {key} yet")
    return key


def _draw_spectrogram(
    key: ModelKey, result: PredictionResult, batch: RecordBatch, rate_hz: float | None
) -> Heatmap | None:
    """Return the picture that the version which answered saw of the first channel; None where it serves no more."""
    champion = load_champion(key)
    if champion.number != result.version:
        return None
    predictor = champion.predictor
    assert isinstance(predictor, DamagePredictor)
    (recording,) = batch.records
    samples = np.asarray(recording["samples"], dtype=np.float32)
    picture = draw_levels(
        predictor.postprocessor.transform, samples, recording.get("sampling_rate_hz") or rate_hz
    )
    if picture is None:
        return None
    return build_spectrogram_figure(gettext("Spectrogram"), (gettext("seconds"), "Hz"), picture)
