"""Schedules in words: ``every 1h``, ``daily 02:00``, ``sun 02:00``, ``mon-fri 06:30``."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from errors import ConfigurationError

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY = re.compile(r"every\s+([1-9][0-9]{0,5})\s*([smhd])")
_AT = re.compile(r"([a-z,\-]+)\s+([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DAYS = re.compile(rf"({'|'.join(DAYS)})([,-]({'|'.join(DAYS)}))*")


def parse_schedule(text: str) -> BaseTrigger:
    """Return the APScheduler trigger of a schedule; times of day are local.

    Raises
    ------
    ConfigurationError
        The text is not a schedule.
    """
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    lowered = text.strip().lower()
    if match := _EVERY.fullmatch(lowered):
        return IntervalTrigger(**{UNITS[match[2]]: int(match[1])})
    match = _AT.fullmatch(lowered)
    if match and (match[1] == "daily" or _DAYS.fullmatch(match[1])):
        days = "*" if match[1] == "daily" else match[1]
        return CronTrigger(day_of_week=days, hour=int(match[2]), minute=int(match[3]))
    raise ConfigurationError(
        f"{text!r} is not a schedule; write 'every 1h', 'daily 02:00', 'sun 02:00' or 'mon-fri 06:30'"
    )


def run_on_schedule(jobs: Sequence[tuple[str, Callable[[], object]]]) -> None:
    """Run jobs on their schedules, one at a time, until SIGTERM or Ctrl-C; an *every* starts at once."""
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.blocking import BlockingScheduler

    scheduler = BlockingScheduler(
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for schedule, job in jobs:
        start = {"next_run_time": datetime.now()} if schedule.startswith("every") else {}
        scheduler.add_job(job, parse_schedule(schedule), **start)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    scheduler.start()
