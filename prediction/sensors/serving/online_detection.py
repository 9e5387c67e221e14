"""A plant's sensors being watched: every answer comes from a champion, or from a rule that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, MillwrightError
from prediction.contract import JSON, ModelKey
from prediction.sensors.anomaly.anomaly_types import CONTEXT_LENGTH
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.calibration import correction
from prediction.sensors.readings.series import EPISODE_INTERVALS, HOUR
from prediction.sensors.serving import fallback
from prediction.sensors.serving.predictor import answers
from prediction.sensors.training_data import to_series
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.anomalies import Anomalies
from storage.sensors.baseline import Baseline, make_baseline
from storage.sensors.calibrations import SOURCE_MODEL, Calibrations
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, from_microseconds

Array = NDArray[Any]

BATCH_SIZE = 10_000
"""Readings of one sensor that are judged together: what is said of each takes a kilobyte."""


@dataclass(frozen=True)
class ModelLookup:
    """A champion that can answer, or the reason why none can, or why it is an earlier one.

    ``model`` is a ``Detector``, a ``DriftModel`` or a ``CalibrationModel``.
    """

    model: Any = None
    version: int | None = None
    reason: str = ""

    @property
    def looks_back(self) -> int:
        """Earlier readings that a verdict depends on."""
        return fallback.RECENT if self.model is None else max(CONTEXT_LENGTH, self.model.context)

    def told(self, answer: JSON) -> JSON:
        """An answer with the version that gave it and, where that is not the champion, why."""
        reason = answer["fallback_reason"] or self.reason or None
        return {**answer, "fallback_reason": reason, "model_version": self.version}


@dataclass
class NewAnomalies:
    """What was odd among new readings: some of it told, all of it counted."""

    told: list[JSON] = field(default_factory=list)
    count: int = 0


class SensorService:
    """One tenant's sensors.

    Parameters
    ----------
    database : Database
    tenant : str
    champion : callable
        The live champion of a key: an object with ``predictor``, ``number`` and ``stands_in``; raises a
        ``MillwrightError`` where nothing can answer.
    """

    def __init__(self, database: Database, tenant: str, champion: Callable[[ModelKey], Any]) -> None:
        self.database = database
        self.tenant = tenant
        self._champion = champion
        self._readings = Readings(database)

    def judge(self, sensor: JSON, values: Array, times: Array) -> list[JSON]:
        """A verdict a reading.

        Parameters
        ----------
        sensor : mapping
            The sensor's row.
        values : float64, shape (n,)
        times : int64, shape (n,)
            Microseconds since 1970, ascending.
        """
        asked = self._ask(sensor["id"], "anomaly")
        before = self._readings.before(sensor["id"], int(times[0]), asked.looks_back).values
        return _verdicts(asked, sensor, values, times, before)

    def check_new_readings(self, known: Mapping[int, JSON], block: ReadingBlock, most: int) -> NewAnomalies:
        """The odd ones among new readings, each recorded as an anomaly; ask before they are stored.

        Parameters
        ----------
        most : int
            As many of them are told, all are counted.
        """
        found = NewAnomalies()
        for mine in split_by_sensor(block):
            for odd in self._odd(known[int(mine.sensors[0])], mine):
                found.told += odd[: most - len(found.told)]
                found.count += len(odd)
        return found

    def record(self, sensor: JSON, odd: Sequence[tuple[float, int, JSON]]) -> list[int]:
        """Anomaly rows of odd readings ``(value, microseconds since 1970, verdict)`` in order of time."""
        rows = [
            {
                "sensor_id": sensor["id"],
                "type": verdict["type"],
                "severity": verdict["severity"],
                "value": value,
                "expected": verdict["expected"],
                "deviation": verdict["deviation"],
                "timestamp": from_microseconds(time),
                "source": verdict["model_used"],
            }
            for value, time, verdict in odd
        ]
        return Anomalies(self.database).record(self.tenant, rows, self._episode_gap(sensor["id"]))

    def drift(self, sensor: JSON, points: int) -> JSON:
        """Drift now and to come.

        Raises
        ------
        InvalidContent
            The sensor has said nothing yet.
        """
        latest = to_series(self._readings.before(sensor["id"], 2**62, fallback.RECENT))
        if not len(latest):
            raise InvalidContent(f"Sensor {sensor['id']} has no readings yet")
        asked = self._ask(sensor["id"], "drift")
        if asked.model is None:
            found = fallback.linear_trend(latest, _base(sensor), points, asked.reason)
        else:
            question = {
                "value": float(latest.values[-1]),
                "time": float(latest.times[-1]),
                "recent": latest.values[:-1].tolist(),
                "future_points": points,
            }
            found = answers(asked.model, [question])[0]
        return asked.told(found)

    def correct(self, sensor: JSON, raw: float) -> JSON:
        """A corrected value with its uncertainty, kept as a calibration that teaches nobody."""
        asked = self._ask(sensor["id"], "calibration")
        found = asked.model.answer(raw) if asked.model is not None else correction.decline(asked.reason)
        if found["model_used"] is None:
            found = fallback.linear_correction(raw, self._past(sensor["id"]), found["fallback_reason"])
        params = {name: found[name] for name in ("correction_factor", "uncertainty", "model_used")}
        row = {
            "sensor_id": sensor["id"],
            "method": "linear",
            "params": {"raw_value": raw, **params},
            "corrected_value": found["corrected_value"],
            "applied_at": utc_now(),
            "source": SOURCE_MODEL,
        }
        kept = Calibrations(self.database).insert(self.tenant, [row])
        return {**asked.told(found), "calibration_id": kept[0]}

    def _odd(self, sensor: JSON, block: ReadingBlock) -> Iterator[list[JSON]]:
        """Anomalies among readings of one sensor, with their rows, a part of the readings at a time."""
        asked = self._ask(sensor["id"], "anomaly")
        for start in range(0, len(block), BATCH_SIZE):
            suspected = _suspected(asked.model, block, start, min(start + BATCH_SIZE, len(block)))
            if suspected is None:
                continue
            part = block.part(suspected)
            before = self._said_before(sensor["id"], block, suspected.start, asked.looks_back)
            verdicts = _verdicts(asked, sensor, part.values, part.times, before)
            triples = zip(part.values.tolist(), part.times.tolist(), verdicts, strict=True)
            yield self._recorded(sensor, [triple for triple in triples if triple[2]["is_anomaly"]])

    def _said_before(self, sensor_id: int, block: ReadingBlock, at: int, count: int) -> Array:
        """The last values before a position of a block, and stored ones where these are too few."""
        own: Array = block.values[max(0, at - count) : at]
        if len(own) == count:
            return own
        stored = self._readings.before(sensor_id, int(block.times[0]), count - len(own)).values
        return np.concatenate([stored, own])

    def _recorded(self, sensor: JSON, odd: Sequence[tuple[float, int, JSON]]) -> list[JSON]:
        ids = self.record(sensor, odd) if odd else []
        return [
            {
                "sensor_id": sensor["id"],
                "reading_value": value,
                "timestamp": from_microseconds(time),
                **verdict,
                "anomaly_id": n,
            }
            for (value, time, verdict), n in zip(odd, ids, strict=True)
        ]

    def _ask(self, sensor_id: int, kind: str) -> ModelLookup:
        try:
            live = self._champion(ModelKey("sensors", f"{sensor_id}-{kind}", self.tenant))
        except MillwrightError as error:
            return ModelLookup(reason=error.message)
        return ModelLookup(live.predictor.model, live.number, live.fallback_warning)

    def _episode_gap(self, sensor_id: int) -> float:
        """Seconds of quiet after which an episode is over: twelve usual intervals."""
        times = self._readings.before(sensor_id, 2**62, 20).times / 1e6
        steps = np.diff(times)
        usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else HOUR / EPISODE_INTERVALS
        return EPISODE_INTERVALS * usual

    def _past(self, sensor_id: int) -> list[tuple[float, float]]:
        rows = Calibrations(self.database).list_manual(sensor_id)
        past = []
        for row in rows[-3:]:
            at = int(row["applied_at"].timestamp() * 1e6) + 1
            before = self._readings.before(sensor_id, at, correction.READINGS_BEFORE).values
            if len(before):
                past.append((float(before.mean()), row["corrected_value"]))
        return past


def split_by_sensor(block: ReadingBlock) -> Iterator[ReadingBlock]:
    """The readings of each sensor, in order of time."""
    order = np.lexsort((block.times, block.sensors))
    sorted_ = block.part(order)
    edges = np.flatnonzero(np.diff(sorted_.sensors)) + 1
    for start, end in pairwise([0, *edges.tolist(), len(block)]):
        yield sorted_.part(slice(start, end))


def _suspected(model: Any, block: ReadingBlock, start: int, end: int) -> slice | None:
    """The part of these readings that has to be looked at closely; most forests pass most of them."""
    if not isinstance(model, Detector) or model.context:
        return slice(start, end)
    odd = np.flatnonzero(model.alarms(block.values[start:end], block.times[start:end] / 1e6))
    return slice(start + int(odd[0]), start + int(odd[-1]) + 1) if len(odd) else None


def _verdicts(asked: ModelLookup, sensor: JSON, values: Array, times: Array, before: Array) -> list[JSON]:
    """What the champion, or the rule in its place, says of readings behind those before."""
    if asked.model is None:
        limits = (sensor["min_value"], sensor["max_value"])
        found = fallback.threshold(values, before, *limits, asked.reason)
    else:
        known = np.concatenate([before, values])
        first = len(known) - len(values)
        recent = [known[max(0, first + n - CONTEXT_LENGTH) : first + n] for n in range(len(values))]
        found = asked.model.answers(values, times / 1e6, recent, known)
    return [asked.told(answer) for answer in found]


def _base(sensor: JSON) -> Baseline:
    return make_baseline(sensor["baseline"] or 0.0, sensor["min_value"], sensor["max_value"])
