"""Everything that is known of one asset: its reports, sensors, remaining life, recordings and trainings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from flask_babel import gettext

from api.http.context import identity, manager
from dashboard.device_health import DeviceHealth, predict_health, select_device_model
from dashboard.labels import label_anomaly_type
from dashboard.stored_reports import read_stored_reports
from dashboard.versions import summarize_version
from errors import MillwrightError
from prediction import registry
from prediction.contract import ModelKey
from prediction.sensors.model_names import FAMILY as SENSOR_FAMILY
from prediction.sensors.model_names import build_model_names
from storage.datasets.facts import RECORDINGS
from storage.db.crud import Row
from storage.db.sessions import SessionFilter, SessionSummary
from storage.devices.device_patterns import matches_device
from storage.sensors.readings import from_microseconds
from storage.sensors.tables import SEVERE, anomalies
from storage.text.dates import AmbiguousDate, find_date_order, parse_local_time

MAX_REPORTS: Final = 50
MAX_SENSORS: Final = 20
# Sensors whose name or tag contains that of the asset, to be looked at: "P-1" is in "P-10", which is another asset.
MAX_CANDIDATES: Final = 500
MAX_EPISODES: Final = 50
MAX_SESSIONS: Final = 20
MAX_DATA_SETS: Final = 20
MAX_EVENTS: Final = 100
# Versions of each model of a sensor whose trainings are listed: their manifests are files, of which an asset with
# MAX_SENSORS sensors has 180, and reading these takes 60 ms.
MAX_VERSIONS: Final = 3
# Scores from this level on are severe.
SEVERE_SCORE: Final = 4
# A report is news about the machine for so long.
RECENT_DAYS: Final = 30


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
    reports : sequence of AssetReport
        All of the asset's, in the order of arrival, the newest first.
    sensors : sequence of Row
        Sensors with the asset's name in their name or tag.
    episodes : sequence of Row
        The newest anomalies of the sensors.
    severe_sensors : set of int
        The sensors with a severe open anomaly, whether or not it is among the episodes.
    health : DeviceHealth, optional
        None where no device of that name has sent telemetry.
    problems : sequence of str
        What could not be read, and lists that are cut: the asset may have more than is shown.
    """

    name: str
    reports: Sequence[AssetReport]
    sensors: Sequence[Row]
    episodes: Sequence[Row]
    health: DeviceHealth | None
    run_ends: Sequence[tuple[datetime, bool]]
    recordings: Sequence[SpecimenCount]
    sessions: Sequence[SessionSummary]
    severe_sensors: frozenset[int] = frozenset()
    are_reports_readable: bool = True
    problems: Sequence[str] = ()

    @property
    def is_known(self) -> bool:
        """Whether any source knows the asset, or one that cannot be read may know it."""
        known = self.reports or self.sensors or self.health or self.recordings
        return bool(known) or not self.are_reports_readable

    def list_events(self) -> list[AssetEvent]:
        """Return the timeline, the newest first."""
        events = [*_report_events(self.reports[:MAX_REPORTS]), *_sensor_events(self.episodes, self.sensors)]
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
    problems: list[str] = []
    reports = _read_reports(name, problems)
    sensors = _find_sensors(name, problems)
    ids = [sensor["id"] for sensor in sensors]
    episodes, next_episode = services.sensors.anomalies.page(
        tenant, [anomalies.c.sensor_id.in_(ids)], MAX_EPISODES, newest_first=True
    )
    is_device = services.devices.telemetry.span(tenant, name) is not None
    ends = services.devices.failures.run_ends(tenant, [name]).get(name, []) if name[-1:] != "*" else []
    recordings = _count_recordings(name, problems)
    if next_episode is not None:
        problems.append(gettext("Of the anomalies, the newest %(num)s are shown.", num=MAX_EPISODES))
    if reports is not None and len(reports) > MAX_REPORTS:
        problems.append(gettext("Of the reports, the newest %(num)s are shown.", num=MAX_REPORTS))
    return Asset(
        name=name,
        reports=reports or (),
        sensors=sensors,
        episodes=episodes,
        health=predict_health(select_device_model(None), name, {}) if is_device else None,
        run_ends=[(from_microseconds(time), has_failed) for time, has_failed in ends],
        recordings=recordings,
        sessions=_list_sessions(name, reports or (), ids, is_device),
        severe_sensors=frozenset(services.sensors.anomalies.find_severe_sensors(tenant, ids)),
        are_reports_readable=reports is not None,
        problems=problems,
    )


def _find_sensors(name: str, problems: list[str]) -> list[Row]:
    """Return the sensors with a name in theirs, as a whole word."""
    text = name.replace("\0", "")
    sensors = manager().sensors.sensors
    rows, next_row = sensors.page(identity().tenant, [sensors.has_in_name(text)], MAX_CANDIDATES)
    # Letters and digits beside the name make it another one.
    word = re.compile(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])", re.IGNORECASE)
    named = [row for row in rows if word.search(row["name"]) or word.search(row["tag"] or "")]
    if len(named) > MAX_SENSORS:
        problems.append(
            gettext("Further sensors have this name in theirs; %(num)s are shown.", num=MAX_SENSORS)
        )
    if next_row is not None:
        problems.append(
            gettext(
                "More than %(num)s sensors have these letters in their name or tag; those after the first "
                "%(num)s were not searched for this name.",
                num=MAX_CANDIDATES,
            )
        )
    return named[:MAX_SENSORS]


def _read_reports(name: str, problems: list[str]) -> list[AssetReport] | None:
    """Return the stored reports of the equipment with this number; None where they cannot be read."""
    try:
        stored = read_stored_reports()
    except MillwrightError as error:
        problems.append(gettext("The reports cannot be read:") + f" {error.message}")
        return None
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
        for row in reversed(rows)
    ]


def _count_recordings(name: str, problems: list[str]) -> list[SpecimenCount]:
    """Return the data sets with recordings of a specimen of this name."""
    counts = []
    data_sets = [d for d in manager().datasets.list(identity().tenant) if d.kind == RECORDINGS]
    for dataset in data_sets[:MAX_DATA_SETS]:
        try:
            entries = dataset.recordings().entries
        except MillwrightError as error:
            problems.append(f"{dataset.facts['name']}: {error.message}")
            continue
        own = [entry for entry in entries if entry.specimen == name]
        if own:
            labels = Counter(entry.label or "" for entry in own)
            created_at = datetime.fromisoformat(dataset.facts["created_at"])
            counts.append(SpecimenCount(dataset.id, dataset.facts["name"], labels, created_at))
    if len(data_sets) > MAX_DATA_SETS:
        problems.append(
            gettext("Of the recordings, the newest %(num)s data sets were searched.", num=MAX_DATA_SETS)
        )
    return counts


def _list_sessions(
    name: str, reports: Sequence[AssetReport], sensor_ids: Sequence[int], is_device: bool
) -> Sequence[SessionSummary]:
    """Return the newest trainings that read data of the asset.

    Of sensors trained together they are those whose versions are stored, and those that run: to search the list of
    the models of each batch would take seconds.
    """
    tenant, services = identity().tenant, manager()
    numbers = {report.session_id for report in reports if report.session_id is not None}
    models = set(build_model_names(sensor_ids))
    for model in models:
        key = ModelKey(SENSOR_FAMILY, model, tenant)
        versions = services.models.version_numbers(key)[-MAX_VERSIONS:]
        trained_by = (summarize_version(key, version).session_id for version in versions)
        numbers |= {number for number in trained_by if number is not None}
    for session in services.sessions.running(tenant):
        if session.family == SENSOR_FAMILY and not models.isdisjoint(session.details.get("models") or ()):
            numbers.add(session.id)
    if is_device:
        of_devices = services.sessions.list(tenant, registry.find_device_family(), limit=500, details=())
        numbers |= {
            session.id for session in of_devices if matches_device(name, session.options.get("device_ids"))
        }
    only = SessionFilter(numbers, SENSOR_FAMILY, models)
    return services.sessions.list_summaries(tenant, only=only, limit=MAX_SESSIONS)


def _report_events(reports: Sequence[AssetReport]) -> Iterator[AssetEvent]:
    for report in reports:
        if report.detected_at is not None:
            text = f"{gettext('report')}: {report.description}"
            yield AssetEvent(report.detected_at, text, "", report.is_severe)


def _sensor_events(episodes: Sequence[Row], sensors: Sequence[Row]) -> Iterator[AssetEvent]:
    names = {sensor["id"]: sensor["name"] for sensor in sensors}
    for episode in episodes:
        sensor_id = episode["sensor_id"]
        text = f"{names[sensor_id]}: {label_anomaly_type(episode['type'])}"
        link, is_severe = f"/sensors/{sensor_id}#anomalies", episode["severity"] in SEVERE
        yield AssetEvent(episode["timestamp"], text, link, is_severe)


def _compare(asset: Asset) -> Iterator[str]:
    status = asset.health.prediction["health_status"] if asset.health and asset.health.prediction else None
    open_sensors = asset.severe_sensors
    names = ", ".join(sensor["name"] for sensor in asset.sensors if sensor["id"] in open_sensors)
    now = datetime.now(UTC)
    recent = [r for r in asset.reports if r.detected_at and (now - r.detected_at).days <= RECENT_DAYS]
    is_reported = any(report.is_severe for report in recent)
    # A report without a readable time may be a recent one.
    is_silence_known = asset.are_reports_readable and all(report.detected_at for report in asset.reports)
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
    if status == "critical" and not recent and is_silence_known:
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
