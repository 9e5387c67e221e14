"""Answer questions about a tenant's sensors: by the served model, or by a rule that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import sqlalchemy as sa

from errors import InvalidContent
from prediction.contract import ModelKey
from prediction.sensors.anomaly.anomaly_types import CONTEXT_LENGTH
from prediction.sensors.anomaly.detector import Detection, Detector
from prediction.sensors.calibration.model import CalibrationModel, Correction, decline
from prediction.sensors.calibration.pairs import READINGS_BEFORE
from prediction.sensors.drift.model import DriftForecast, DriftModel
from prediction.sensors.readings.prediction_input import PredictionInput
from prediction.sensors.readings.series import EPISODE_INTERVALS, HOUR, Array, SensorSeries
from prediction.sensors.serving import fallback
from prediction.sensors.serving.model_lookup import AnswerKeeper, ChampionLookup, ModelLookup
from prediction.sensors.serving.new_anomalies import (
    MAX_SILENT_READINGS,
    NewAnomalies,
    SensorEpisodes,
    to_episode,
)
from prediction.sensors.serving.releases import ReleasedBand, find_released_bands, release_detections
from storage.db.crud import Row
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.anomalies import Anomalies
from storage.sensors.baseline import make_baseline
from storage.sensors.calibrations import SOURCE_MODEL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, from_microseconds, to_microseconds

# Readings of one sensor that are checked together: each detection takes a kilobyte.
BATCH_SIZE = 10_000
_END_OF_TIME = 2**62
_CALIBRATIONS_FOR_OFFSET = 3
# Enough readings for a median of their intervals.
_READINGS_FOR_INTERVAL = 20


class SensorService:
    """Detections, forecasts and corrections for one tenant's sensors.

    Parameters
    ----------
    database : Database
    tenant : str
    champion : ChampionLookup
    keep : AnswerKeeper
        Keeps what a version is asked and answers, so that it can be reproduced. Readings that are checked as they
        are stored are not kept: their anomalies are rows.
    """

    def __init__(
        self,
        database: Database,
        tenant: str,
        champion: ChampionLookup,
        keep: AnswerKeeper = lambda *given: {},
    ) -> None:
        self.database = database
        self.tenant = tenant
        self._champion = champion
        self._keep = keep
        self._readings = Readings(database)
        self._anomalies = Anomalies(database)

    def detect(self, sensor: Row, values: Array, times: Array, record: bool = False) -> list[Detection]:
        """Return a detection for each reading.

        Parameters
        ----------
        sensor : Row
        values : float64, shape (n,)
        times : int64, shape (n,)
            Microseconds since 1970, ascending.
        record : bool
            Whether to store the anomalies; each gets the ``anomaly_id`` of its episode.
        """
        lookup: ModelLookup[Detector] = self._look_up(sensor["id"], "anomaly")
        detections: list[Detection] = []
        before = before_times = np.empty(0)
        needs_context = (
            lookup.model is None
            or lookup.model.context_length > 0
            or (lookup.model.run_context > 0 and _may_repeat(sensor, values, times))
        )
        if lookup.model is not None and not needs_context:
            # A forest needs earlier readings only for repeated values and for the type of an anomaly, so that
            # most detections take no second query.
            detections = lookup.model.detect_after(values, times / 1e6, before, before_times)
            needs_context = any(detection["is_anomaly"] for detection in detections)
        if needs_context:
            stored = self._readings.before(sensor["id"], int(times[0]), _context_length(lookup))
            before, before_times = stored.values, stored.times / 1e6
            detections = _detect_with_context(
                lookup, sensor, values, times, before=before, before_times=stored.times
            )
        bands = self._find_released_bands(sensor["id"], lookup.model, detections, times)
        detections = release_detections(detections, values, bands)
        fields: Mapping[str, object] = {}
        if lookup.served is not None:
            pairs = zip(values.tolist(), (times / 1e6).tolist(), strict=True)
            inputs = [{"value": value, "time": time} for value, time in pairs]
            options = {"before": before, "before_times": before_times, "released": bands}
            fields = self._keep(lookup.served, inputs, options, detections)
        detections = [lookup.annotate(detection, **fields) for detection in detections]
        if record and needs_context:
            found = NewAnomalies()
            block = ReadingBlock(np.full(len(values), sensor["id"]), times, values)
            self._add_anomalies(lookup.model, block, detections, found, start=0, max_listed=len(values))
            if found.count:
                with self.database.write() as connection:
                    self._record(connection, found)
            ids = iter([row["anomaly_id"] for row in found.listed])
            for detection in detections:
                if detection["is_anomaly"]:
                    detection["anomaly_id"] = next(ids)
        return detections

    def ingest(
        self,
        sensors: Mapping[int, Row],
        block: ReadingBlock,
        max_listed: int,
        also: Callable[[sa.Connection], None] = lambda connection: None,
    ) -> NewAnomalies:
        """Store readings together with the anomalies among them, in one transaction.

        Parameters
        ----------
        sensors : mapping of int to Row
            The tenant's sensors that the readings belong to.
        block : ReadingBlock
        max_listed : int
            How many anomalies to list; all are counted and stored.
        also : callable
            Writes in the same transaction what came with the readings.
        """
        found = NewAnomalies()
        # Detection may take seconds, so it comes before the transaction, which keeps others from writing.
        for part in split_by_sensor(block) if len(block) else ():
            self._check_sensor(sensors[int(part.sensors[0])], part, found, max_listed)
        with self.database.write() as connection:
            if len(block):
                self._readings.ingest_with(connection, self.tenant, block)
            self._record(connection, found)
            also(connection)
        return found

    def _check_sensor(self, sensor: Row, block: ReadingBlock, found: NewAnomalies, max_listed: int) -> None:
        """Find the anomalies of one sensor, batch by batch."""
        lookup: ModelLookup[Detector] = self._look_up(sensor["id"], "anomaly")
        context_length = _context_length(lookup)
        for start in range(0, len(block), BATCH_SIZE):
            end = min(start + BATCH_SIZE, len(block))
            suspects = _find_suspects(lookup.model, sensor, block, start, end)
            if suspects is None:
                continue
            earlier = slice(max(0, suspects.start - context_length), suspects.start)
            before, before_times = block.values[earlier], block.times[earlier]
            if len(before) < context_length:
                missing = context_length - len(before)
                stored = self._readings.before(sensor["id"], int(block.times[0]), missing)
                before = np.concatenate([stored.values, before])
                before_times = np.concatenate([stored.times, before_times])
            part = block.select(suspects)
            detections = _detect_with_context(
                lookup, sensor, part.values, part.times, before=before, before_times=before_times
            )
            detections = [lookup.annotate(detection) for detection in detections]
            bands = self._find_released_bands(sensor["id"], lookup.model, detections, part.times)
            detections = release_detections(detections, part.values, bands)
            self._add_anomalies(
                lookup.model, block, detections, found, start=suspects.start, max_listed=max_listed
            )

    def _find_released_bands(
        self, sensor_id: int, model: Detector | None, detections: Sequence[Detection], times: Array
    ) -> list[ReleasedBand]:
        """Return what verdicts have released; most detections have no alarm, and need no query."""
        if not any(detection["is_anomaly"] for detection in detections):
            return []
        return find_released_bands(self._anomalies, sensor_id, model, int(times[0]))

    def _add_anomalies(
        self,
        model: Detector | None,
        block: ReadingBlock,
        detections: list[Detection],
        found: NewAnomalies,
        *,
        start: int,
        max_listed: int,
    ) -> None:
        """Merge anomalous readings into episodes, count them and list the first.

        Parameters
        ----------
        block : ReadingBlock
            Readings of one sensor in order of time; ``detections`` are those of the readings from ``start`` on.
        """
        sensor_id = int(block.sensors[0])
        for row, detection in enumerate(detections, start=start):
            if not detection["is_anomaly"]:
                continue
            if sensor_id not in found.by_sensor:
                found.by_sensor[sensor_id] = self._start_episodes(sensor_id, model, int(block.times[0]))
            value, timestamp = float(block.values[row]), from_microseconds(int(block.times[row]))
            episodes = found.by_sensor[sensor_id]
            position = episodes.add(to_episode(detection, value, timestamp), block, row)
            found.count += 1
            if len(found.listed) < max_listed:
                reading = {"sensor_id": sensor_id, "reading_value": value, "timestamp": timestamp}
                # The position stands for the id until the episode is stored.
                found.listed.append({**reading, **detection, "anomaly_id": position})

    def _record(self, connection: sa.Connection, found: NewAnomalies) -> None:
        """Store the episodes, and give the listed anomalies their ids."""
        ids = {
            sensor_id: self._anomalies.record(
                connection, self.tenant, sensor_id, sensor.episodes, sensor.gap, lasts=sensor.goes_on
            )
            for sensor_id, sensor in found.by_sensor.items()
        }
        for row in found.listed:
            row["anomaly_id"] = ids[row["sensor_id"]][row["anomaly_id"]]

    def forecast_drift(self, sensor: Row, points: int) -> DriftForecast:
        """Return the drift now and its next steps.

        Raises
        ------
        InvalidContent
            The sensor has no readings yet.
        """
        lookup: ModelLookup[DriftModel] = self._look_up(sensor["id"], "drift")
        count = fallback.CONTEXT_LENGTH if lookup.model is None else lookup.model.context_length
        latest = SensorSeries.from_stored(self._readings.before(sensor["id"], _END_OF_TIME, count))
        if not len(latest):
            raise InvalidContent(f"Sensor {sensor['id']} has no readings yet")
        if lookup.model is None:
            baseline = make_baseline(sensor["baseline"] or 0.0, sensor["min_value"], sensor["max_value"])
            forecast = fallback.forecast_linear_trend(latest, baseline, points, lookup.reason)
        else:
            question: PredictionInput = {
                "value": float(latest.values[-1]),
                "time": float(latest.times[-1]),
                "recent": latest.values[:-1].tolist(),
                "future_points": points,
            }
            (forecast,) = lookup.model.predict([question])
            if lookup.served is not None:
                return lookup.annotate(forecast, **self._keep(lookup.served, [question], {}, [forecast]))
        return lookup.annotate(forecast)

    def correct(self, sensor: Row, raw: float) -> Correction:
        """Return a corrected value, stored as a calibration that no model learns from."""
        lookup: ModelLookup[CalibrationModel] = self._look_up(sensor["id"], "calibration")
        correction = decline(lookup.reason) if lookup.model is None else lookup.model.answer(raw)
        fields: Mapping[str, object] = {}
        if correction["model_used"] is not None and lookup.served is not None:
            fields = self._keep(lookup.served, [{"value": raw}], {}, [correction])
        else:
            pairs = self.read_calibration_pairs(sensor["id"])
            correction = fallback.correct_by_offset(raw, pairs, correction["fallback_reason"] or "")
        row = {
            "sensor_id": sensor["id"],
            "method": "linear",
            "params": {
                "raw_value": raw,
                "correction_factor": correction["correction_factor"],
                "uncertainty": correction["uncertainty"],
                "model_used": correction["model_used"],
            },
            "corrected_value": correction["corrected_value"],
            "applied_at": utc_now(),
            "source": SOURCE_MODEL,
        }
        (calibration_id,) = Calibrations(self.database).insert(self.tenant, [row])
        return lookup.annotate(correction, **fields, calibration_id=calibration_id)

    def read_calibration_pairs(self, sensor_id: int) -> list[tuple[float, float]]:
        """Return measured and corrected values of the latest calibrations with readings before them."""
        pairs = []
        for row in Calibrations(self.database).list_manual(sensor_id)[-_CALIBRATIONS_FOR_OFFSET:]:
            after = int(row["applied_at"].timestamp() * 1e6) + 1
            before = self._readings.before(sensor_id, after, READINGS_BEFORE).values
            if len(before):
                pairs.append((float(before.mean()), row["corrected_value"]))
        return pairs

    def _look_up(self, sensor_id: int, kind: str) -> ModelLookup[Any]:
        return ModelLookup.find(self._champion, ModelKey("sensors", f"{sensor_id}-{kind}", self.tenant))

    def _start_episodes(self, sensor_id: int, model: Detector | None, time: int) -> SensorEpisodes:
        """Return the episodes of a block that starts at a time, with the readings before it."""
        # A silent episode is over after twelve usual intervals of the stored readings.
        latest = self._readings.before(sensor_id, _END_OF_TIME, _READINGS_FOR_INTERVAL)
        steps = np.diff(latest.times / 1e6)
        interval = float(np.median(steps[steps > 0])) if (steps > 0).any() else HOUR / EPISODE_INTERVALS
        gap = timedelta(seconds=EPISODE_INTERVALS * interval)
        if model is None:
            return SensorEpisodes(gap)
        before = self._readings.before(sensor_id, time, MAX_SILENT_READINGS + 1)
        return SensorEpisodes(gap, model, before.values, before.times)


def split_by_sensor(block: ReadingBlock) -> Iterator[ReadingBlock]:
    """Yield the readings of each sensor, in order of time."""
    ordered = block.select(np.lexsort((block.times, block.sensors)))
    edges = np.flatnonzero(np.diff(ordered.sensors)) + 1
    for start, end in pairwise([0, *edges.tolist(), len(block)]):
        yield ordered.select(slice(start, end))


def _context_length(lookup: ModelLookup[Detector]) -> int:
    """Return how many earlier readings a detection depends on."""
    if lookup.model is None:
        return fallback.CONTEXT_LENGTH
    return max(CONTEXT_LENGTH, lookup.model.context_length, lookup.model.run_context)


def _may_repeat(sensor: Row, values: Array, times: Array) -> bool:
    """Return whether readings may go on with the value before them: the sensor shows it, or a later one."""
    latest = sensor["last_updated"]
    return bool(values[0] == sensor["value"] or (latest is not None and to_microseconds(latest) > times[0]))


def _find_suspects(
    model: Detector | None, sensor: Row, block: ReadingBlock, start: int, end: int
) -> slice | None:
    """Return the part of a batch from the first to the last anomaly; None where there is none.

    Most batches have none, and then a forest's scores are all the work. Other detectors need every reading.
    """
    if model is None or model.context_length:
        return slice(start, end)
    values, times = block.values[start:end], block.times[start:end] / 1e6
    if model.run_context and start == 0 and _may_repeat(sensor, values, block.times):
        return slice(start, end)
    stream = block.values[max(0, start - model.run_context) : end]
    positions = np.flatnonzero(model.find_anomalies(values, times, stream))
    return slice(start + int(positions[0]), start + int(positions[-1]) + 1) if len(positions) else None


def _detect_with_context(
    lookup: ModelLookup[Detector],
    sensor: Row,
    values: Array,
    times: Array,
    *,
    before: Array,
    before_times: Array,
) -> list[Detection]:
    """Return the detections of the model, or of the rule in its place, for readings that follow ``before``."""
    if lookup.model is None:
        return fallback.detect_by_threshold(
            values, before, sensor["min_value"], sensor["max_value"], lookup.reason
        )
    return lookup.model.detect_after(values, times / 1e6, before, before_times / 1e6)
