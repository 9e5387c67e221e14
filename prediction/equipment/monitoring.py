"""Evidence for retraining the model of an asset: new telemetry, and alarms beyond the budget."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

from errors import InvalidContent
from prediction.contract import Options
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.equipment.model.limits import WEEK_SECONDS, number_episodes
from prediction.monitoring import FamilyMonitor, MonitoringReport
from prediction.telemetry import join_duplicates
from storage.devices.telemetry import DeviceTelemetry, Telemetry

# Fewer new rows say nothing about a rate of alarms.
_MIN_NEW_ROWS: Final = 200
_MAX_NEW_ROWS: Final = 20_000
# Episodes that new rows may have whatever the budget. A lasting fault is one episode, so it is no reason to train:
# the fault would be learnt as normal.
_MAX_EPISODES: Final = 5
_MAX_EPISODES_RATIO: Final = 2.0


class EquipmentMonitor(FamilyMonitor):
    """The models of one tenant's assets."""

    family: ClassVar[str] = "equipment"

    def retrain_options(self, name: str, changed: bool) -> Options:
        """Return the champion's options without an end date, which would exclude all later data."""
        return {**super().retrain_options(name, changed), "end_date": None}

    def report(self, name: str, now: datetime) -> MonitoringReport:
        served = self.champion(self.key(name))
        manifest = served.manifest
        facts, options = manifest["facts"], manifest["options"]
        telemetry = Telemetry(self.database)
        new = (self.tenant, facts["device_id"])
        stored = telemetry.latest(*new, _MAX_NEW_ROWS, start=facts["last_time"] + 1)
        days = options["retrain_days"]
        return MonitoringReport(
            version=manifest["version"],
            trained_at=datetime.fromisoformat(manifest["created_at"]),
            max_age=None if days is None else timedelta(days=days),
            judged=manifest["metrics"]["metrics"],
            new=telemetry.count_rows(*new, start=facts["last_time"] + 1),
            known=facts["rows"],
            cases="rows of telemetry",
            issue=_find_issue(
                served.predictor.model, join_duplicates(stored), options["false_alarms_per_week"]
            ),
        )


def _find_issue(model: EquipmentModel, telemetry: DeviceTelemetry, budget: float) -> str | None:
    """Return how often the model alarms on new telemetry, where that is far beyond its budget."""
    if len(telemetry) < _MIN_NEW_ROWS:
        return None
    try:
        running = model.preprocessor.layout.take_running_rows(telemetry)
    except InvalidContent as error:
        return f"The new telemetry does not fit the model. {error.message}"
    weeks = len(running) * model.preprocessor.layout.interval / 1e6 / WEEK_SECONDS
    episodes = int(number_episodes(model.score(running).alarms).max(initial=0))
    if episodes <= max(_MAX_EPISODES, _MAX_EPISODES_RATIO * budget * weeks):
        return None
    return f"{episodes} alarms in {len(telemetry):,} new rows, {budget * weeks:.2g} are in the budget"
