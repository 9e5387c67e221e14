"""Which models of a plant should be trained again, and how good its models have measurably been."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any, ClassVar

from errors import ArtefactCorrupt, MillwrightError, NotFound
from prediction.contract import JSON
from prediction.monitoring import FamilyMonitor, MonitoringReport
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.data_requirements import missing_data_reason, query_for
from prediction.sensors.drift import forecasting
from prediction.sensors.drift.forecasting import DriftModel
from prediction.sensors.intake import MODEL_KINDS
from prediction.sensors.readings.series import WEEK, SensorSeries, count_episodes, estimate_interval_seconds
from prediction.sensors.training_data import MAX_READINGS, to_series
from storage.db.database import Database
from storage.sensors.data_counts import SensorDataCount, count_data
from storage.sensors.readings import Readings

FAMILY = "sensors"
MAX_MODEL_AGE = timedelta(days=7)
MISSING = "missing"
_FEWEST_NEW = 50
_FEWEST_EPISODES = 5
"""Alarms that new readings may give, whatever the budget; a lasting fault is one, however long."""
_WORSE = 1.5
_JUDGED = ("anomaly", "drift")
"""Kinds that new readings say something of."""


@dataclass(frozen=True)
class ChampionInfo:
    """What is known of one model without loading it.

    Parameters
    ----------
    name : str
        ``<sensor_id>-<kind>``.
    manifest : mapping or None
        The champion's; None where there is no champion.
    """

    name: str
    manifest: JSON | None

    @property
    def age(self) -> timedelta | None:
        """Time since the champion was trained."""
        if self.manifest is None:
            return None
        return datetime.now(UTC) - datetime.fromisoformat(self.manifest["created_at"])


@dataclass(frozen=True)
class RetrainPlan:
    """What a round of upkeep would do.

    Parameters
    ----------
    models : mapping of str to str
        Models to train, with the reason.
    lacking : mapping of str to str
        Models that would be trained, too, if there were data enough, with what is missing.
    """

    models: dict[str, str]
    lacking: dict[str, str]


def build_model_names(sensor_ids: Iterable[int], kinds: Sequence[str] = MODEL_KINDS) -> list[str]:
    """The models of these sensors."""
    return [f"{sensor_id}-{kind}" for sensor_id in sensor_ids for kind in kinds]


def sort_key(name: str) -> tuple[int, str]:
    """Where a model stands in a list: by the number of its sensor, then by kind."""
    sensor_id, kind = name.split("-", 1)
    return int(sensor_id), kind


def sample_evenly(names: Sequence[str], most: int) -> list[str]:
    """At most so many of these names, evenly spread."""
    count = min(most, len(names))
    return [names[at * len(names) // count] for at in range(count)]


class SensorsMonitor(FamilyMonitor):
    """The models of one tenant's sensors; those that are due share a session."""

    family: ClassVar[str] = FAMILY
    batch_training: ClassVar[bool] = True

    def report(self, name: str, now: datetime) -> MonitoringReport:
        live = self.champion(self.key(name))
        manifest, new = live.manifest, _since(live.manifest, self.database)
        return MonitoringReport(
            version=manifest["version"],
            trained_at=datetime.fromisoformat(manifest["created_at"]),
            max_age=MAX_MODEL_AGE,
            judged=manifest["metrics"]["metrics"],
            new=len(new),
            cases="readings",
            issue=find_degradation(live.predictor.model, manifest, new),
        )

    def trained(self) -> list[str]:
        """Names of models that have versions, in order of sensor and kind."""
        return sorted((record.name for record in self.index.page(self.tenant, FAMILY)), key=sort_key)

    def list_trained_of(self, sensor_id: int) -> list[str]:
        """Those of one sensor, without looking at all."""
        names = sorted(build_model_names([sensor_id]), key=sort_key)
        return [name for name in names if self.versions.numbers(self.key(name).path)]

    def group_champions(self, sensor_ids: Collection[int]) -> dict[str, list[str]]:
        """Names of the models of these sensors that have a champion, by kind."""
        records = self.index.page(self.tenant, FAMILY)
        promoted = sorted((record.name for record in records if record.version is not None), key=sort_key)
        names = [name for name in promoted if sort_key(name)[0] in sensor_ids]
        return {kind: [name for name in names if sort_key(name)[1] == kind] for kind in MODEL_KINDS}

    def known(self, name: str) -> ChampionInfo:
        """What the champion's manifest tells of a model; nothing where none can be read."""
        try:
            version = self.versions.champion(self.key(name).path)
        except (ArtefactCorrupt, NotFound):
            version = None
        return ChampionInfo(name, None if version is None else version.manifest)

    def due(self) -> RetrainPlan:
        """Models to train again with the reason: missing, older than a week, or measurably worse.

        What the sensors hold is asked of the database once for all; a model is loaded only where enough
        readings have come since its training to judge it by.
        """
        found, trained = RetrainPlan({}, {}), set(self.trained())
        for sensor_id, held in count_data(self.database, self.tenant, query_for(new=_FEWEST_NEW)).items():
            for name, kind in zip(build_model_names([sensor_id]), MODEL_KINDS, strict=True):
                reason = self._reason(self.known(name), held) if name in trained else MISSING
                lacks = missing_data_reason(held, kind) if reason else None
                if lacks:
                    found.lacking[name] = lacks
                elif reason:
                    found.models[name] = reason
        return found

    def _reason(self, model: ChampionInfo, held: SensorDataCount) -> str | None:
        age = model.age
        if age is None or model.manifest is None:
            return MISSING
        if age > MAX_MODEL_AGE:
            return f"{age.days} days old"
        told = model.manifest["facts"]
        if told["kind"] not in _JUDGED or held.late is None or held.late <= told["last_time"] * 1e6:
            return None
        try:
            live = self.champion(self.key(model.name))
        except MillwrightError as error:
            return error.message
        return find_degradation(live.predictor.model, live.manifest, _since(live.manifest, self.database))


def find_degradation(model: Any, manifest: JSON, new: SensorSeries) -> str | None:
    """What the readings since the training say of a model: None where it does as well as it promised."""
    if len(new) < _FEWEST_NEW:
        return None
    if isinstance(model, Detector) and "false_alarms_per_week" in model.facts:
        interval, budget = estimate_interval_seconds(new.times), model.facts["false_alarms_per_week"]
        told = count_episodes(new.times[model.alarms(new.values, new.times)], interval)
        allowed = budget * len(new) * interval / WEEK
        if told > max(2 * allowed, _FEWEST_EPISODES):
            return f"{told} alarms in {len(new)} new readings, {allowed:.2g} are in the budget"
    if isinstance(model, DriftModel):
        error, promised = (
            forecasting.evaluate(model, new, model.window).headline,
            manifest["metrics"]["headline"],
        )
        if error > _WORSE * promised:
            return f"the error on {len(new)} new readings is {error:.3g}, {promised:.3g} was measured"
    return None


def _since(manifest: JSON, database: Database) -> SensorSeries:
    """The readings that came after a version's training, as many as a training would look at."""
    told = manifest["facts"]
    after = int(told["last_time"] * 1e6) + 1
    return to_series(Readings(database).series(told["sensor_id"], since=after, latest=MAX_READINGS))


def summarize_quality(models: Sequence[ChampionInfo]) -> JSON:
    """Measured quality over all champions; every figure comes from held-out rows, none from severities."""
    by_kind = {
        kind: [m.manifest for m in models if m.manifest and m.name.endswith(kind)] for kind in MODEL_KINDS
    }
    metrics = {kind: [told["metrics"] for told in found] for kind, found in by_kind.items()}
    return {
        "anomaly": {
            "false_alarms_per_week": _mean(metrics["anomaly"], "false_alarms_per_week"),
            "false_alarm_episodes_per_week": _mean(metrics["anomaly"], "false_alarm_episodes_per_week"),
            "budget_per_week": _mean_option(by_kind["anomaly"], "false_alarms_per_week"),
            "miss_rate_of_inserted_faults": _mean(metrics["anomaly"], "miss_rate"),
            "models": len(by_kind["anomaly"]),
        },
        "drift": {
            "backtest_mae": _mean(metrics["drift"], "backtest_mae"),
            "naive_mae": _mean(metrics["drift"], "naive_mae"),
            "interval_coverage": _mean(metrics["drift"], "measured_coverage"),
            "models": len(by_kind["drift"]),
        },
        "calibration": {
            "error_before": _mean(metrics["calibration"], "error_before"),
            "error_after": _mean(metrics["calibration"], "error"),
            "uncertainty_coverage": _mean(metrics["calibration"], "uncertainty_coverage"),
            "models": len(by_kind["calibration"]),
        },
    }


def _mean(metrics: Sequence[JSON], name: str) -> float | None:
    found = [one["metrics"][name] for one in metrics if one["metrics"].get(name) is not None]
    return fmean(found) if found else None


def _mean_option(manifests: Sequence[JSON], name: str) -> float | None:
    found = [told["options"][name] for told in manifests if told["options"].get(name) is not None]
    return fmean(found) if found else None
