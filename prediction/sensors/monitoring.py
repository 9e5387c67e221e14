"""Decide which sensor models to train again, and summarise how good the champions are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import ClassVar

from errors import ArtefactCorrupt, MillwrightError, NotFound
from prediction.monitoring import FamilyMonitor, MonitoringReport
from prediction.sensors import drift
from prediction.sensors.anomaly import Detector
from prediction.sensors.data_requirements import missing_data_reason, query_for
from prediction.sensors.drift import DriftModel
from prediction.sensors.model_names import FAMILY, MODEL_KINDS, build_model_names, sort_key
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.series import WEEK, count_episodes, estimate_interval_seconds
from prediction.sensors.serving.predictor import SensorModel
from prediction.sensors.training_data import MAX_READINGS
from storage.db.database import Database
from storage.models.manifest import Manifest
from storage.sensors.data_counts import SensorDataCount, count_data
from storage.sensors.readings import Readings

MAX_MODEL_AGE = timedelta(days=7)
MISSING = "missing"
# Fewer new readings say nothing about a rate of errors.
_MIN_NEW_READINGS = 50
# Episodes that new readings may have whatever the budget. A lasting fault is one episode, so it is no reason to
# train: the fault would be learnt as normal.
_MAX_EPISODES = 5
_MAX_EPISODES_RATIO = 2
_MAX_ERROR_RATIO = 1.5
# Calibrations are too rare for new ones to say something about a model.
_KINDS_WITH_NEW_DATA = ("anomaly", "drift")


@dataclass(frozen=True)
class ChampionInfo:
    """What is known of a model without loading it.

    Parameters
    ----------
    name : str
        ``<sensor_id>-<kind>``.
    manifest : mapping or None
        The champion's; None where there is no champion.
    """

    name: str
    manifest: Manifest | None

    @property
    def age(self) -> timedelta | None:
        """Return the time since the champion was trained."""
        if self.manifest is None:
            return None
        return datetime.now(UTC) - datetime.fromisoformat(self.manifest["created_at"])


@dataclass(frozen=True)
class RetrainPlan:
    """The models that should be trained now.

    Parameters
    ----------
    models : mapping of str to str
        Models to train, with the reason.
    insufficient_data : mapping of str to str
        Models that would be trained if there were enough data, with what is missing.
    """

    models: dict[str, str] = field(default_factory=dict)
    insufficient_data: dict[str, str] = field(default_factory=dict)


def sample_evenly(names: Sequence[str], max_count: int) -> list[str]:
    """Return at most so many of these names, evenly spread."""
    count = min(max_count, len(names))
    return [names[position * len(names) // count] for position in range(count)]


class SensorsMonitor(FamilyMonitor):
    """The models of one tenant's sensors; those that are due share a session."""

    family: ClassVar[str] = FAMILY
    batch_training: ClassVar[bool] = True

    def report(self, name: str, now: datetime) -> MonitoringReport:
        served = self.champion(self.key(name))
        manifest, new = served.manifest, _read_new_readings(served.manifest, self.database)
        return MonitoringReport(
            version=manifest["version"],
            trained_at=datetime.fromisoformat(manifest["created_at"]),
            max_age=MAX_MODEL_AGE,
            judged=manifest["metrics"]["metrics"],
            new=len(new),
            cases="readings",
            issue=find_degradation(served.predictor.model, manifest, new),
        )

    def list_trained(self) -> list[str]:
        """Return the names of models that have versions, in order of sensor and kind."""
        return sorted((record.name for record in self.index.page(self.tenant, FAMILY)), key=sort_key)

    def list_trained_of(self, sensor_id: int) -> list[str]:
        """Return those of one sensor, without reading the names of all models."""
        names = sorted(build_model_names([sensor_id]), key=sort_key)
        return [name for name in names if self.versions.numbers(self.key(name).path)]

    def group_champions(self, sensor_ids: Collection[int]) -> dict[str, list[str]]:
        """Return the names of the models of these sensors that have a champion, by kind."""
        records = self.index.page(self.tenant, FAMILY)
        promoted = sorted((record.name for record in records if record.version is not None), key=sort_key)
        names = [name for name in promoted if sort_key(name)[0] in sensor_ids]
        return {kind: [name for name in names if sort_key(name)[1] == kind] for kind in MODEL_KINDS}

    def get_champion(self, name: str) -> ChampionInfo:
        """Return what the champion's manifest tells of a model; no manifest where none can be read."""
        try:
            version = self.versions.champion(self.key(name).path)
        except (ArtefactCorrupt, NotFound):
            version = None
        return ChampionInfo(name, None if version is None else version.manifest)

    def plan(self) -> RetrainPlan:
        """Return the models to train again: missing, older than a week, or measurably worse.

        One query counts the data of all sensors. A model is loaded only where enough readings have come since
        its training to evaluate it on them.
        """
        plan, trained = RetrainPlan(), set(self.list_trained())
        counts = count_data(self.database, self.tenant, query_for(new_readings=_MIN_NEW_READINGS))
        for sensor_id, count in counts.items():
            for name, kind in zip(build_model_names([sensor_id]), MODEL_KINDS, strict=True):
                reason = self._find_reason(self.get_champion(name), count) if name in trained else MISSING
                if not reason:
                    continue
                if missing_data := missing_data_reason(count, kind):
                    plan.insufficient_data[name] = missing_data
                else:
                    plan.models[name] = reason
        return plan

    def _find_reason(self, champion: ChampionInfo, count: SensorDataCount) -> str | None:
        """Return why a model should be trained again; None where it need not."""
        age = champion.age
        if age is None or champion.manifest is None:
            return MISSING
        if age > MAX_MODEL_AGE:
            return f"{age.days} days old"
        facts = champion.manifest["facts"]
        if facts["kind"] not in _KINDS_WITH_NEW_DATA:
            return None
        if count.nth_last is None or count.nth_last <= facts["last_time"] * 1e6:
            return None
        try:
            served = self.champion(self.key(champion.name))
        except MillwrightError as error:
            return error.message
        new = _read_new_readings(served.manifest, self.database)
        return find_degradation(served.predictor.model, served.manifest, new)


def find_degradation(model: SensorModel, manifest: Manifest, new: SensorSeries) -> str | None:
    """Return how a model does worse on the readings since its training than it promised; None if it does not."""
    if len(new) < _MIN_NEW_READINGS:
        return None
    if isinstance(model, Detector) and "false_alarms_per_week" in model.facts:
        interval, budget = estimate_interval_seconds(new.times), model.facts["false_alarms_per_week"]
        episodes = count_episodes(new.times[model.find_anomalies(new.values, new.times)], interval)
        expected = budget * len(new) * interval / WEEK
        if episodes > max(_MAX_EPISODES_RATIO * expected, _MAX_EPISODES):
            return f"{episodes} alarms in {len(new)} new readings, {expected:.2g} are in the budget"
    # Versions without a horizon promised the error of one step, which says nothing about several.
    if isinstance(model, DriftModel) and "horizon" in manifest["metrics"]["metrics"]:
        if len(new) < model.context_length + _MIN_NEW_READINGS:
            return None
        promised = manifest["metrics"]["headline"]
        error = drift.evaluate(model, new, model.context_length).headline
        if promised is not None and error > _MAX_ERROR_RATIO * promised:
            return f"the error on {len(new)} new readings is {error:.3g}, {promised:.3g} was measured"
    return None


def _read_new_readings(manifest: Manifest, database: Database) -> SensorSeries:
    """Return the readings after a version's training, at most as many as a training reads."""
    facts = manifest["facts"]
    since = int(facts["last_time"] * 1e6) + 1
    return SensorSeries.from_stored(
        Readings(database).series(facts["sensor_id"], since=since, latest=MAX_READINGS)
    )


def summarize_quality(champions: Sequence[ChampionInfo]) -> dict[str, object]:
    """Return mean metrics over champions; all of them were measured on held-out rows."""
    by_kind = {
        kind: [
            champion.manifest for champion in champions if champion.manifest and champion.name.endswith(kind)
        ]
        for kind in MODEL_KINDS
    }

    def mean_metric(kind: str, name: str) -> float | None:
        return _mean(manifest["metrics"]["metrics"].get(name) for manifest in by_kind[kind])

    return {
        "anomaly": {
            "false_alarms_per_week": mean_metric("anomaly", "false_alarms_per_week"),
            "false_alarm_episodes_per_week": mean_metric("anomaly", "false_alarm_episodes_per_week"),
            "budget_per_week": _mean(
                manifest["options"].get("false_alarms_per_week") for manifest in by_kind["anomaly"]
            ),
            "miss_rate_of_inserted_faults": mean_metric("anomaly", "miss_rate"),
            "models": len(by_kind["anomaly"]),
        },
        "drift": {
            "backtest_mae": mean_metric("drift", "backtest_mae"),
            "naive_mae": mean_metric("drift", "naive_mae"),
            "interval_coverage": mean_metric("drift", "measured_coverage"),
            "models": len(by_kind["drift"]),
        },
        "calibration": {
            "error_before": mean_metric("calibration", "error_before"),
            "error_after": mean_metric("calibration", "error"),
            "uncertainty_coverage": mean_metric("calibration", "uncertainty_coverage"),
            "models": len(by_kind["calibration"]),
        },
    }


def _mean(values: Iterator[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None
