"""What speaks for training a model of remaining useful life again: failures, errors and inputs since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from errors import Conflict, InvalidContent, NotFound
from prediction.contract import JSON
from prediction.monitoring import FamilyMonitor, InputDrift, MonitoringReport, ProductionMetrics
from prediction.records.fields import parse_instant
from prediction.rul.data.collect import add_age, average_in_buckets
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE
from prediction.rul.monitoring.input_drift import MOST_RUNS, PsiBaseline
from prediction.rul.monitoring.production_metrics import NEWEST_RUNS, Ends, ExpectedError, match, production
from prediction.rul.preprocessing.preprocessor import Preprocessor
from storage.devices.device_patterns import matches_device
from storage.devices.failures import Failures
from storage.devices.predictions import Prediction, Predictions, PredictionSource, StoredPredictions
from storage.devices.telemetry import DeviceTelemetry, Telemetry
from storage.models.versions import ModelVersion
from storage.sensors.readings import from_microseconds, to_microseconds

_MOST_DEVICES: Final = 100
_MOST_ROWS: Final = 3_000


class RulMonitor(FamilyMonitor):
    """Models of remaining useful life."""

    family: ClassVar[str] = "rul"

    @classmethod
    def predictions_to_log(cls, predictor: Any, answers: Sequence[JSON]) -> list[Prediction]:
        """Answers about a device by name at a time: its truth can come."""
        most = predictor.serving.horizon_hours
        return [_noted(answer, most) for answer in answers if answer["device_id"] and answer["as_of"]]

    def retrain_options(self, name: str, changed: bool) -> JSON:
        """As the champion's, without an end, which would keep out everything that has come since.

        Where something has changed, only the newest thirty failures teach: those that showed it.
        """
        options = {**super().retrain_options(name, changed), "end_date": None}
        return {**options, "start_date": self._start(options)} if changed else options

    def _start(self, options: JSON) -> str | None:
        """A horizon and a window before the thirtieth newest failure."""
        ends = Failures(self.database).run_ends(self.tenant, options["device_ids"])
        failures = sorted(end for told in ends.values() for end, failed in told if failed)
        if len(failures) <= NEWEST_RUNS:
            asked: str | None = options["start_date"]
            return asked
        before = options["prediction_horizon_hours"] + options["sequence_length"] * options["window_hours"]
        start = from_microseconds(failures[-NEWEST_RUNS]) - timedelta(hours=before)
        return max(start, parse_instant("start_date", options["start_date"] or "1970-01-01")).isoformat()

    def report(self, name: str, now: datetime) -> MonitoringReport:
        version = self.versions.champion(self.key(name).path)
        if version is None:
            raise NotFound(f"{self.key(name)} has no champion")
        told = json.loads((version.folder / "model_metadata.json").read_text(encoding="utf-8"))
        if "promise" not in told:
            raise Conflict(
                f"{self.key(name)} was made by an earlier Millwright, which promised nothing: train it"
            )
        devices = told["options"]["device_ids"]
        ends = Failures(self.database).run_ends(self.tenant, devices)
        return MonitoringReport(
            version=version.number,
            trained_at=datetime.fromisoformat(version.manifest["created_at"]),
            production=self._production(name, version, told, ends),
            judged=told["performance_metrics"],
            new=Failures(self.database).count_after(self.tenant, told["data"]["failures_up_to"], devices),
            known=told["data"]["failures"],
            cases="failures",
            shifts=self._shifts(told, ends),
        )

    def _production(self, name: str, version: ModelVersion, told: JSON, ends: Ends) -> ProductionMetrics:
        asker = PredictionSource(self.tenant, self.family, name, version.number)
        kept = _unseen(Predictions(self.database).read(asker), told)
        telemetry, labeler = Telemetry(self.database), Preprocessor.from_dict(told["serving"]).labeler

        def last_row(device: str) -> int:
            span = telemetry.span(self.tenant, device)
            return span[1] if span else 0

        return production(
            kept, match(kept, ends, last_row), ExpectedError.from_dict(told["promise"]), labeler
        )

    def _shifts(self, told: JSON, ends: Ends) -> dict[str, InputDrift]:
        inputs, serving = PsiBaseline.from_dict(told["inputs"]), Preprocessor.from_dict(told["serving"])
        mark, telemetry = told["data"]["telemetry_up_to"], Telemetry(self.database)
        chosen = told["options"]["device_ids"]
        runs: list[tuple[int, NDArray[np.float32]]] = []
        for device in telemetry.devices_after(self.tenant, mark, _MOST_DEVICES):
            if matches_device(device, chosen):
                recorded = telemetry.latest(self.tenant, device, _MOST_ROWS)
                runs += _early_rows(recorded, ends.get(device, ()), serving, inputs.early_rows, mark)
        runs.sort(key=itemgetter(0))
        return inputs.shifts([rows for _, rows in runs[-MOST_RUNS:]])


def _noted(answer: JSON, most: float) -> Prediction:
    interval = answer["interval"]
    bounded = interval["coverage"] == DEFAULT_COVERAGE
    return Prediction(
        device_id=answer["device_id"],
        as_of=to_microseconds(datetime.fromisoformat(answer["as_of"])),
        value=answer["rul_hours"],
        max_value=most,
        lower=interval["lower"] if bounded else None,
        upper=interval["upper"] if bounded else None,
        rows_used=answer["rows_used"],
    )


def _unseen(kept: StoredPredictions, told: JSON) -> StoredPredictions:
    """Answers that rest on enough rows, about moments of which the version has learnt nothing."""
    learnt = {name for names in told["data"]["devices"].values() for name in names}
    stranger = np.array([device not in learnt for device in kept.devices], dtype=bool)
    fewest = told["options"]["min_history"] or told["options"]["sequence_length"]
    good = (stranger | (kept.as_of > told["data"]["last"])) & (kept.rows_used >= fewest)
    places = np.flatnonzero(good)
    columns = ("as_of", "value", "max_value", "lower", "upper", "rows_used")
    arrays = {name: getattr(kept, name)[places] for name in columns}
    return StoredPredictions([kept.devices[int(place)] for place in places], **arrays)


def _early_rows(
    recorded: DeviceTelemetry,
    ends: Sequence[tuple[int, bool]],
    serving: Preprocessor,
    early_rows: int,
    mark: int,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Of each of a device's runs that began above the mark its beginning, and all of its early rows."""
    run = np.searchsorted(np.array([end for end, _ in ends], dtype=np.int64), recorded.times, side="left")
    whole = len(recorded) < _MOST_ROWS
    aged = add_age(recorded, ends)
    for number in np.unique(run)[0 if whole else 1 :]:
        rows = np.flatnonzero(run == number)
        mine = DeviceTelemetry(
            aged.device_id, aged.ids[rows], aged.times[rows], aged.channels, aged.values[rows]
        )
        mine = average_in_buckets(mine, serving.window_hours)
        try:
            shown = serving.normalised(mine)[:early_rows]
        except InvalidContent:
            continue
        if len(shown) == early_rows and mine.ids[0] > mark:
            yield int(mine.times[0]), shown
