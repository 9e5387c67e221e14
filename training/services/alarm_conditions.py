"""Lasting conditions of the plant and the server, which no single event announces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from settings import Settings
from storage.alarms import Alarm, Observation, observe_conditions
from storage.alarms.tables import alarm_conditions
from storage.db.database import Database
from storage.db.tables import StoredRow, utc_now
from storage.home_folders import BACKUPS
from storage.repeated_warning import RepeatedWarning
from storage.sensors.tables import sensors
from training.services.restore_drills import RestoreDrills
from training.services.system import SystemService

SILENT: Final = "data.silent"
BACKUP: Final = "backup.problem"
DISK: Final = "disk.nearly_full"
_TENANT: Final = "default"
# A sensor that was silent for longer when its silence is first noticed has been taken out of use.
_MAX_SILENCE: Final = timedelta(hours=24)
# A disk whose free space lies around the limit would raise an alarm with every file.
_HYSTERESIS: Final = 1.2


class AlarmConditions:
    """Looks at sensors, backups and the disk, and raises alarms when something begins or ends."""

    def __init__(
        self, database: Database, drills: RestoreDrills, system: SystemService, settings: Settings
    ) -> None:
        self._database = database
        self._drills = drills
        self._system = system
        self._settings = settings
        self._is_disk_full = False
        finders: dict[str, Callable[[], Iterator[Observation]]] = {
            SILENT: self._find_silent_sensors,
            BACKUP: self._find_backup_problems,
            DISK: self._find_full_disk,
        }
        self._finders = [
            (find, RepeatedWarning("alarm_condition_not_checked", condition=event))
            for event, find in finders.items()
        ]

    def check(self) -> bool:
        """Look at everything once; return whether all of it could be looked at.

        What cannot be looked at now is looked at the next time, and keeps nothing else from being looked at.
        """
        for find, unchecked in self._finders:
            with unchecked.catch():
                for observation in find():
                    observe_conditions(self._database, observation)
                unchecked.end()
        return not any(unchecked.reason for _, unchecked in self._finders)

    def _find_silent_sensors(self) -> Iterator[Observation]:
        now = utc_now()
        columns = ("id", "tenant", "name", "tag", "last_updated", "silent_at")
        query = sa.select(*(sensors.c[name] for name in columns)).where(sensors.c.silent_at < now)
        with self._database.read() as connection:
            # A tenant whose last sensor was deleted has none, and may have conditions that must end.
            with_sensors, with_conditions = sa.select(sensors.c.tenant), sa.select(alarm_conditions.c.tenant)
            silent_before = with_conditions.where(alarm_conditions.c.event == SILENT)
            tenants = list(connection.execute(sa.union(with_sensors, silent_before)).scalars())
            rows = connection.execute(query.order_by(sensors.c.id)).all()
        silent: dict[str, list[StoredRow]] = defaultdict(list)
        for row in rows:
            silent[row.tenant].append(row)
        for tenant in tenants:
            lasting = {f"sensors/{row.id}" for row in silent[tenant]}
            alarms = {
                f"sensors/{row.id}": _describe_silence(row)
                for row in silent[tenant]
                if row.silent_at >= now - _MAX_SILENCE
            }
            yield Observation(tenant, SILENT, lasting, alarms)

    def _find_backup_problems(self) -> Iterator[Observation]:
        subject = "server/backups"
        problems = self._system.home_issues(BACKUPS)
        # Without their folder, nothing can be said about single backups.
        if not problems and (issue := self._drills.issue(_TENANT)):
            problems = [issue]
        alarm = Alarm(_TENANT, BACKUP, "High", "server", subject, " ".join(problems))
        yield _observe_one(alarm, bool(problems))

    def _find_full_disk(self) -> Iterator[Observation]:
        limit = self._settings.alarm_free_disk_mb * 1_000_000
        free = self._system.free_bytes()
        if self._is_disk_full:
            limit = int(limit * _HYSTERESIS)
        self._is_disk_full = free < limit
        message = (
            f"Only {free // 1_000_000:,} MB are free on the disk of the home folder, fewer than "
            f"{self._settings.alarm_free_disk_mb:,}: without space no training can be stored"
        )
        alarm = Alarm(_TENANT, DISK, "High", "server", "server/disk", message)
        yield _observe_one(alarm, self._is_disk_full)


def _observe_one(alarm: Alarm, lasts: bool) -> Observation:
    alarms = {alarm.subject: alarm} if lasts else {}
    return Observation(alarm.tenant, alarm.event, set(alarms), alarms)


def _describe_silence(row: StoredRow) -> Alarm:
    return Alarm(
        row.tenant,
        SILENT,
        "Medium",
        "sensors",
        f"sensors/{row.id}",
        f"{row.name} (sensor {row.id}) has sent nothing since {row.last_updated:%Y-%m-%d %H:%M:%S} UTC",
        tag=row.tag,
        data={"sensor_id": row.id},
    )
