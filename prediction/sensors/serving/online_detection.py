"""Answer questions about a tenant's sensors: by the served model, or by a rule that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from prediction.sensors.readings.series import EPISODE_INTERVALS, HOUR, Array, SensorSeries
from prediction.sensors.serving import fallback
from prediction.sensors.serving.model_lookup import ChampionLookup, ModelLookup
from prediction.sensors.serving.new_anomalies import NewAnomalies, SensorEpisodes, to_episode
from storage.db.crud import Row
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.anomalies import Anomalies
from storage.sensors.baseline import make_baseline
from storage.sensors.calibrations import SOURCE_MODEL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, from_microseconds

BATCH_SIZE = 10_000
"""Readings of one sensor that are checked together: each detection takes a kilobyte."""
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
    """

    def __init__(self, database: Database, tenant: str, champion: ChampionLookup) -> None:
        self.database = database
        self.tenant = tenant
        self._champion = champion
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
        needs_context = lookup.model is None or lookup.model.context_length > 0
        if lookup.model is not None and not needs_context:
            # A forest needs earlier readings only for the type of an anomaly, so that most detections take no
            # second query.
            nothing = [np.empty(0)] * len(values)
            detections = [
                lookup.annotate(detection)
                for detection in lookup.model.detect(values, times / 1e6, nothing, values)
            ]
            needs_context = any(detection["is_anomaly"] for detection in detections)
        if needs_context:
            before = self._readings.before(sensor["id"], int(times[0]), _context_length(lookup))
            detections = _detect_with_context(lookup, sensor, values, times, before.values)
        if record and needs_context:
            found = NewAnomalies()
            block = ReadingBlock(np.full(len(values), sensor["id"]), times, values)
            self._add_anomalies(block, detections, found, max_listed=len(values))
            if found.count:
                with self.database.write() as connection:
                    self._record(connection, found)
            ids = iter([row["anomaly_id"] for row in found.listed])
            for detection in detections:
                if detection["is_anomaly"]:
                    detection["anomaly_id"] = next(ids)
        return detections

    def ingest(self, sensors: Mapping[int, Row], block: ReadingBlock, max_listed: int) -> NewAnomalies:
        """Store readings together with the anomalies among them, in one transaction.

        Parameters
        ----------
        sensors : mapping of int to Row
            The tenant's sensors that the readings belong to.
        block : ReadingBlock
        max_listed : int
            How many anomalies to list; all are counted and stored.
        """
        found = NewAnomalies()
        if not len(block):
            return found
        # Detection may take seconds, so it comes before the transaction, which keeps others from writing.
        for part in split_by_sensor(block):
            self._check_sensor(sensors[int(part.sensors[0])], part, found, max_listed)
        with self.database.write() as connection:
            self._readings.ingest_with(connection, self.tenant, block)
            self._record(connection, found)
        return found

    def _check_sensor(self, sensor: Row, block: ReadingBlock, found: NewAnomalies, max_listed: int) -> None:
        """Find the anomalies of one sensor, batch by batch."""
        lookup: ModelLookup[Detector] = self._look_up(sensor["id"], "anomaly")
        context_length = _context_length(lookup)
        for start in range(0, len(block), BATCH_SIZE):
            suspects = _find_suspects(lookup.model, block, start, min(start + BATCH_SIZE, len(block)))
            if suspects is None:
                continue
            before: Array = block.values[max(0, suspects.start - context_length) : suspects.start]
            if len(before) < context_length:
                missing = context_length - len(before)
                stored = self._readings.before(sensor["id"], int(block.times[0]), missing)
                before = np.concatenate([stored.values, before])
            part = block.select(suspects)
            detections = _detect_with_context(lookup, sensor, part.values, part.times, before)
            self._add_anomalies(part, detections, found, max_listed)

    def _add_anomalies(
        self, block: ReadingBlock, detections: list[Detection], found: NewAnomalies, max_listed: int
    ) -> None:
        """Merge anomalous readings into episodes, count them and list the first."""
        sensor_id = int(block.sensors[0])
        readings = zip(block.values.tolist(), block.times.tolist(), detections, strict=True)
        for value, time, detection in readings:
            if not detection["is_anomaly"]:
                continue
            if sensor_id not in found.by_sensor:
                found.by_sensor[sensor_id] = SensorEpisodes(self._estimate_episode_gap(sensor_id))
            timestamp = from_microseconds(time)
            position = found.by_sensor[sensor_id].add(to_episode(detection, value, timestamp))
            found.count += 1
            if len(found.listed) < max_listed:
                row = {"sensor_id": sensor_id, "reading_value": value, "timestamp": timestamp}
                # The position stands for the id until the episode is stored.
                found.listed.append({**row, **detection, "anomaly_id": position})

    def _record(self, connection: sa.Connection, found: NewAnomalies) -> None:
        """Store the episodes, and give the listed anomalies their ids."""
        ids = {
            sensor_id: self._anomalies.record(connection, self.tenant, sensor_id, sensor.episodes, sensor.gap)
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
            (forecast,) = lookup.model.predict(
                [
                    {
                        "value": float(latest.values[-1]),
                        "time": float(latest.times[-1]),
                        "recent": latest.values[:-1].tolist(),
                        "future_points": points,
                    }
                ]
            )
        return lookup.annotate(forecast)

    def correct(self, sensor: Row, raw: float) -> Correction:
        """Return a corrected value, stored as a calibration that no model learns from."""
        lookup: ModelLookup[CalibrationModel] = self._look_up(sensor["id"], "calibration")
        correction = decline(lookup.reason) if lookup.model is None else lookup.model.answer(raw)
        if correction["model_used"] is None:
            pairs = self._latest_calibration_pairs(sensor["id"])
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
        correction = lookup.annotate(correction)
        correction["calibration_id"] = calibration_id
        return correction

    def _latest_calibration_pairs(self, sensor_id: int) -> list[tuple[float, float]]:
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

    def _estimate_episode_gap(self, sensor_id: int) -> timedelta:
        """Return the time after which an episode is over: twelve usual intervals of the stored readings."""
        latest = self._readings.before(sensor_id, _END_OF_TIME, _READINGS_FOR_INTERVAL)
        steps = np.diff(latest.times / 1e6)
        interval = float(np.median(steps[steps > 0])) if (steps > 0).any() else HOUR / EPISODE_INTERVALS
        return timedelta(seconds=EPISODE_INTERVALS * interval)


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
    return max(CONTEXT_LENGTH, lookup.model.context_length)


def _find_suspects(model: Detector | None, block: ReadingBlock, start: int, end: int) -> slice | None:
    """Return the part of a batch from the first to the last anomaly; None where there is none.

    Most batches have none, and then a forest's scores are all the work. Other detectors need every reading.
    """
    if model is None or model.context_length:
        return slice(start, end)
    times = block.times[start:end] / 1e6
    positions = np.flatnonzero(model.find_anomalies(block.values[start:end], times))
    return slice(start + int(positions[0]), start + int(positions[-1]) + 1) if len(positions) else None


def _detect_with_context(
    lookup: ModelLookup[Detector], sensor: Row, values: Array, times: Array, before: Array
) -> list[Detection]:
    """Return the detections of the model, or of the rule in its place, for readings that follow ``before``."""
    if lookup.model is None:
        detections = fallback.detect_by_threshold(
            values, before, sensor["min_value"], sensor["max_value"], lookup.reason
        )
    else:
        stream = np.concatenate([before, values])
        recent = [stream[max(0, end - CONTEXT_LENGTH) : end] for end in range(len(before), len(stream))]
        detections = lookup.model.detect(values, times / 1e6, recent, stream)
    return [lookup.annotate(detection) for detection in detections]
