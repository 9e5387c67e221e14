"""Everything that is known of one asset: its reports, sensors, remaining life, recordings and trainings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from flask_babel import gettext

from api.http.context import identity, manager
from api.sensors.sensors import SENSORS
from dashboard.device_health import DeviceHealth, predict_health, select_device_model
from errors import MillwrightError
from prediction import registry
from prediction.contract import ModelKey
from prediction.scoring.data.record_store import csv_folder
from prediction.sensors.model_names import FAMILY as SENSOR_FAMILY
from storage.anomaly_reports.csv_store import CsvStore
from storage.datasets.facts import RECORDINGS
from storage.db.crud import Row
from storage.db.sessions import Session
from storage.devices.device_patterns import matches_device
from storage.sensors.readings import from_microseconds
from storage.sensors.tables import anomalies
from storage.text.dates import AmbiguousDate, find_date_order, parse_local_time

MAX_REPORTS: Final = 50
MAX_SENSORS: Final = 20
MAX_EPISODES: Final = 50
MAX_SESSIONS: Final = 20
MAX_DATA_SETS: Final = 20
MAX_EVENTS: Final = 100
# Scores from this level on are severe.
SEVERE_SCORE: Final = 4
# A report is news about the machine for so long.
RECENT_DAYS: Final = 30
_SEVERE: Final = ("High", "Critical")


@dataclass(frozen=True)
class AssetReport:
    """An anomaly report of the asset; a time that cannot be read is None."""

    detected_at: datetime | None
    written_at: str
    description: str
    scores: dict[str, float | None]
    session_id: int | None

    @property
    def is_severe(self) -> bool:
        """Whether any of its scores is severe."""
        return any(score is not None and score >= SEVERE_SCORE for score in self.scores.values())


@dataclass(frozen=True)
class SpecimenCount:
    """Recordings of a data set whose specimen is the asset, by class."""

    dataset_id: str
    name: str
    labels: Counter[str]
    created_at: datetime


@dataclass(frozen=True)
class AssetEvent:
    """One entry of the timeline."""

    at: datetime
    text: str
    link: str
    is_severe: bool = False


@dataclass(frozen=True)
class Asset:
    """What is known of an asset, from each source.

    Parameters
    ----------
    sensors : sequence of Row
        Sensors with the asset's name in theirs.
    health : DeviceHealth, optional
        None where no device of that name has sent telemetry.
    """

    name: str
    reports: Sequence[AssetReport]
    sensors: Sequence[Row]
    episodes: Sequence[Row]
    health: DeviceHealth | None
    run_ends: Sequence[tuple[datetime, bool]]
    recordings: Sequence[SpecimenCount]
    sessions: Sequence[Session]

    @property
    def is_known(self) -> bool:
        """Whether any source knows the asset."""
        return bool(self.reports or self.sensors or self.health or self.recordings)

    def list_events(self) -> list[AssetEvent]:
        """Return the timeline, the newest first."""
        events = [*_report_events(self.reports), *_sensor_events(self.episodes, self.sensors)]
        for at, has_failed in self.run_ends:
            text = gettext("failure") if has_failed else gettext("planned replacement")
            events.append(AssetEvent(at, text, "", has_failed))
        events += [
            AssetEvent(row.created_at, f"{gettext('recordings')}: {row.name}", f"/data/{row.dataset_id}")
            for row in self.recordings
        ]
        events += [
            AssetEvent(
                session.created_at,
                f"{gettext('training')} {session.id}: {session.family}/{session.name}",
                f"/trainings/{session.id}",
            )
            for session in self.sessions
        ]
        return sorted(events, key=lambda event: event.at, reverse=True)[:MAX_EVENTS]

    def list_disagreements(self) -> list[str]:
        """Return, in words, where two sources do not fit together."""
        return list(_compare(self))


def read_asset(name: str) -> Asset:
    """Return everything that is known of an asset of the caller's tenant."""
    tenant, services = identity().tenant, manager()
    reports = _read_reports(name)
    sensors, _ = services.sensors.sensors.page(tenant, SENSORS.filters({"name": name}), MAX_SENSORS, 0)
    of_sensors = anomalies.c.sensor_id.in_([sensor["id"] for sensor in sensors])
    episodes, _ = services.sensors.anomalies.page(tenant, [of_sensors], MAX_EPISODES, newest_first=True)
    is_device = services.devices.telemetry.span(tenant, name) is not None
    ends = services.devices.failures.run_ends(tenant, [name]).get(name, []) if name[-1:] != "*" else []
    return Asset(
        name=name,
        reports=reports,
        sensors=sensors,
        episodes=episodes,
        health=predict_health(select_device_model(None), name, {}) if is_device else None,
        run_ends=[(from_microseconds(time), has_failed) for time, has_failed in ends],
        recordings=_count_recordings(name),
        sessions=_list_sessions(name, reports, sensors, is_device),
    )


def _read_reports(name: str) -> list[AssetReport]:
    """Return the newest stored reports of the equipment with this number."""
    key = ModelKey(registry.DEFAULT_FAMILY, tenant=identity().tenant)
    store = CsvStore(csv_folder(manager().settings.data_dir, key), manager().settings.home)
    try:
        stored = store.read()
    except MillwrightError:  # health says which file cannot be read
        return []
    order = find_date_order(stored.detected_at)
    wanted = name.strip().casefold()
    rows = [number for number, text in enumerate(stored.equipment_id) if text.strip().casefold() == wanted]

    def parse_time(text: str) -> datetime | None:
        try:
            parsed = parse_local_time(text, order)
        except AmbiguousDate:
            return None
        return parsed.replace(tzinfo=UTC) if parsed else None

    return [
        AssetReport(
            parse_time(stored.detected_at[row]),
            stored.detected_at[row],
            stored.description[row],
            {score: values[row] for score, values in stored.scores.items()},
            stored.session_ids[row],
        )
        for row in rows[: -MAX_REPORTS - 1 : -1]
    ]


def _count_recordings(name: str) -> list[SpecimenCount]:
    """Return the data sets with recordings of a specimen of this name."""
    counts = []
    data_sets = [d for d in manager().datasets.list(identity().tenant) if d.kind == RECORDINGS]
    for dataset in data_sets[:MAX_DATA_SETS]:
        own = [entry for entry in dataset.recordings().entries if entry.specimen == name]
        if own:
            labels = Counter(entry.label or "" for entry in own)
            created_at = datetime.fromisoformat(dataset.facts["created_at"])
            counts.append(SpecimenCount(dataset.id, dataset.facts["name"], labels, created_at))
    return counts


def _list_sessions(
    name: str, reports: Sequence[AssetReport], sensors: Sequence[Row], is_device: bool
) -> list[Session]:
    """Return the newest trainings that read data of the asset."""
    tenant, sessions = identity().tenant, manager().sessions
    of_reports = {report.session_id for report in reports if report.session_id is not None}
    own_sensors = {str(sensor["id"]) for sensor in sensors}
    device_family = registry.find_device_family() if is_device else ""

    def reads_asset(session: Session) -> bool:
        if session.id in of_reports:
            return True
        if session.family == SENSOR_FAMILY:
            return any(model.partition("-")[0] in own_sensors for model in list_models(session))
        return session.family == device_family and matches_device(name, session.options.get("device_ids"))

    return [session for session in sessions.list(tenant, limit=500) if reads_asset(session)][:MAX_SESSIONS]


def list_models(session: Session) -> list[str]:
    """Return the names of the models of a session: of a batch that runs those asked for, then those of its results."""
    if session.items:
        return [item["name"] for item in session.items]
    requested = session.details.get("models")
    return requested if isinstance(requested, list) else [session.name]


def _report_events(reports: Sequence[AssetReport]) -> Iterator[AssetEvent]:
    for report in reports:
        if report.detected_at is not None:
            text = f"{gettext('report')}: {report.description}"
            yield AssetEvent(report.detected_at, text, "", report.is_severe)


def _sensor_events(episodes: Sequence[Row], sensors: Sequence[Row]) -> Iterator[AssetEvent]:
    names = {sensor["id"]: sensor["name"] for sensor in sensors}
    for episode in episodes:
        sensor_id = episode["sensor_id"]
        text = f"{names[sensor_id]}: {episode['type']}"
        link, is_severe = f"/sensors/{sensor_id}#anomalies", episode["severity"] in _SEVERE
        yield AssetEvent(episode["timestamp"], text, link, is_severe)


def _compare(asset: Asset) -> Iterator[str]:
    status = asset.health.prediction["health_status"] if asset.health and asset.health.prediction else None
    open_sensors = {
        episode["sensor_id"]
        for episode in asset.episodes
        if not episode["resolved"] and episode["severity"] in _SEVERE
    }
    names = ", ".join(sensor["name"] for sensor in asset.sensors if sensor["id"] in open_sensors)
    now = datetime.now(UTC)
    recent = [r for r in asset.reports if r.detected_at and (now - r.detected_at).days <= RECENT_DAYS]
    is_reported = any(report.is_severe for report in recent)
    if status == "normal" and open_sensors:
        yield gettext(
            "%(sensors)s has severe open anomalies, and the machine is judged healthy: either the sensor "
            "drifts, or the model for remaining life does not see this fault.",
            sensors=names,
        )
    if status == "normal" and is_reported:
        yield gettext(
            "A report of the last %(days)s days is severe, and the machine is judged healthy: what people "
            "saw is not in its telemetry.",
            days=RECENT_DAYS,
        )
    if status == "critical" and asset.sensors and not open_sensors:
        yield gettext("Little life is left, and none of its sensors has a severe open anomaly.")
    if status == "critical" and not recent:
        yield gettext(
            "Little life is left, and nobody has reported anything for %(days)s days.", days=RECENT_DAYS
        )
    if asset.health and asset.health.prediction is None and open_sensors:
        yield gettext(
            "%(sensors)s has severe open anomalies, and the remaining life cannot be judged.", sensors=names
        )
    if is_reported and asset.sensors and not open_sensors:
        yield gettext(
            "A report of the last %(days)s days is severe, and no sensor shows anything severe.",
            days=RECENT_DAYS,
        )
