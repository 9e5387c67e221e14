"""Evidence for retraining models of remaining useful life: failures, errors and inputs since the training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from errors import Conflict, InvalidContent, NotFound
from prediction.contract import Options
from prediction.monitoring import FamilyMonitor, InputDrift, MonitoringReport, ProductionMetrics
from prediction.records.fields import parse_instant
from prediction.rul.data.collect import add_age, assign_runs, average_in_buckets
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE
from prediction.rul.metadata import ModelMetadata
from prediction.rul.monitoring import input_drift, production_metrics
from prediction.rul.monitoring.input_drift import PsiBaseline
from prediction.rul.monitoring.production_metrics import (
    ExpectedError,
    RunEnds,
    match_failures,
    measure_production,
)
from prediction.rul.predictor import RulPredictor
from prediction.rul.preprocessing.preprocessor import Preprocessor, RulPrediction
from storage.devices.device_patterns import matches_device
from storage.devices.failures import Failures, RunEnd
from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.predictions import PredictionStore, StoredPredictions
from storage.devices.telemetry import DeviceTelemetry, Telemetry
from storage.models.versions import ModelVersion
from storage.sensors.readings import from_microseconds, to_microseconds

_MAX_DEVICES: Final = 100
_MAX_ROWS: Final = 3_000


class RulMonitor(FamilyMonitor):
    """Monitors the models of remaining useful life."""

    family: ClassVar[str] = "rul"

    @classmethod
    def predictions_to_log(
        cls, predictor: RulPredictor, predictions: Sequence[RulPrediction]
    ) -> list[Prediction]:
        """Return the predictions for a named device at a known time."""
        max_value = predictor.preprocessor.horizon_hours
        return [
            _to_prediction(prediction, device_id, as_of, max_value)
            for prediction in predictions
            if (device_id := prediction["device_id"]) and (as_of := prediction["as_of"])
        ]

    def retrain_options(self, name: str, changed: bool) -> Options:
        """Return the champion's options without an end date, which would exclude all later data.

        After a change, only the newest thirty failures are used: those that showed it.
        """
        options = {**super().retrain_options(name, changed), "end_date": None}
        if not changed:
            return options
        ends = Failures(self.database).run_ends(self.tenant, options["device_ids"])
        failures = sorted(end for runs in ends.values() for end, failed in runs if failed)
        if len(failures) > production_metrics.MAX_RUNS:
            # A horizon and a window before the oldest of them, so that its whole way to the failure counts.
            hours = options["prediction_horizon_hours"]
            hours += options["sequence_length"] * options["window_hours"]
            start = from_microseconds(failures[-production_metrics.MAX_RUNS]) - timedelta(hours=hours)
            given = parse_instant("start_date", options["start_date"] or "1970-01-01")
            options["start_date"] = max(start, given).isoformat()
        return options

    def report(self, name: str, now: datetime) -> MonitoringReport:
        version = self.versions.champion(self.key(name).path)
        if version is None:
            raise NotFound(f"{self.key(name)} has no champion")
        metadata: ModelMetadata = json.loads(
            (version.folder / "model_metadata.json").read_text(encoding="utf-8")
        )
        if "promise" not in metadata:
            raise Conflict(
                f"{self.key(name)} was made by an earlier Millwright, which promised nothing: train it"
            )
        devices, facts = metadata["options"]["device_ids"], metadata["data"]
        # Of every device: predictions are made for devices outside the champion's list, too.
        ends = Failures(self.database).run_ends(self.tenant)
        return MonitoringReport(
            version=version.number,
            trained_at=datetime.fromisoformat(version.manifest["created_at"]),
            production=self._measure_production(name, version, metadata, ends),
            judged=metadata["performance_metrics"],
            new=Failures(self.database).count_after(self.tenant, facts["failures_up_to"], devices),
            known=facts["failures"],
            cases="failures",
            shifts=self._measure_drift(metadata, ends),
        )

    def _measure_production(
        self, name: str, version: ModelVersion, metadata: ModelMetadata, ends: RunEnds
    ) -> ProductionMetrics:
        source = PredictionSource(self.tenant, self.family, name, version.number)
        stored = _select_unseen(PredictionStore(self.database).read(source), metadata)
        telemetry, labeler = Telemetry(self.database), Preprocessor.from_dict(metadata["serving"]).labeler

        def last_row(device: str) -> int:
            span = telemetry.span(self.tenant, device)
            return span[1] if span else 0

        matched = match_failures(stored, ends, last_row)
        return measure_production(stored, matched, ExpectedError.from_dict(metadata["promise"]), labeler)

    def _measure_drift(self, metadata: ModelMetadata, ends: RunEnds) -> dict[str, InputDrift]:
        baseline = PsiBaseline.from_dict(metadata["inputs"])
        preprocessor = Preprocessor.from_dict(metadata["serving"])
        watermark, telemetry = metadata["data"]["telemetry_up_to"], Telemetry(self.database)
        runs: list[tuple[int, NDArray[np.float32]]] = []
        for device in telemetry.devices_after(self.tenant, watermark, _MAX_DEVICES):
            if matches_device(device, metadata["options"]["device_ids"]):
                rows = telemetry.latest(self.tenant, device, _MAX_ROWS)
                runs += _early_rows(rows, ends.get(device, ()), preprocessor, baseline.early_rows, watermark)
        runs.sort(key=itemgetter(0))
        return baseline.measure([rows for _, rows in runs[-input_drift.MAX_RUNS :]])


def _to_prediction(prediction: RulPrediction, device_id: str, as_of: str, max_value: float) -> Prediction:
    interval = prediction["interval"]
    is_default = interval["coverage"] == DEFAULT_COVERAGE
    return Prediction(
        device_id=device_id,
        as_of=to_microseconds(datetime.fromisoformat(as_of)),
        value=prediction["rul_hours"],
        max_value=max_value,
        lower=interval["lower"] if is_default else None,
        upper=interval["upper"] if is_default else None,
        rows_used=prediction["rows_used"],
    )


def _select_unseen(stored: StoredPredictions, metadata: ModelMetadata) -> StoredPredictions:
    """Return predictions from enough rows, about moments that the version was not trained on."""
    devices = metadata["data"]["devices"]
    trained = {*devices["train"], *devices["validation"], *devices["test"]}
    is_stranger = np.array([device not in trained for device in stored.devices], dtype=bool)
    min_rows = metadata["options"]["min_history"] or metadata["options"]["sequence_length"]
    unseen = (is_stranger | (stored.as_of > metadata["data"]["last"])) & (stored.rows_used >= min_rows)
    rows = np.flatnonzero(unseen)
    columns = ("as_of", "value", "max_value", "lower", "upper", "rows_used")
    arrays = {name: getattr(stored, name)[rows] for name in columns}
    return StoredPredictions([stored.devices[int(row)] for row in rows], **arrays)


def _early_rows(
    telemetry: DeviceTelemetry,
    ends: Sequence[RunEnd],
    preprocessor: Preprocessor,
    early_rows: int,
    watermark: int,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield start and early rows of each run that began after the watermark."""
    run = assign_runs(telemetry.times, ends)
    # The oldest run may have begun before the rows that were read.
    is_complete = len(telemetry) < _MAX_ROWS
    with_age = add_age(telemetry, ends)
    for number in np.unique(run)[0 if is_complete else 1 :]:
        rows = average_in_buckets(with_age.select(np.flatnonzero(run == number)), preprocessor.window_hours)
        try:
            inputs = preprocessor.normalise(rows)[:early_rows]
        except InvalidContent:  # a device without the model's channels says nothing about their drift
            continue
        if len(inputs) == early_rows and rows.ids[0] > watermark:
            yield int(rows.times[0]), inputs
