"""Schedules in words are parsed, and anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.training.cron import parse_schedule
from errors import ConfigurationError

WEDNESDAY = datetime(2025, 1, 1, 12, tzinfo=UTC)


def test_every_hour() -> None:
    assert parse_schedule("every 1h").interval == timedelta(hours=1)


@pytest.mark.parametrize(
    ("words", "weekday", "hour", "minute"),
    [
        ("sun 02:00", 6, 2, 0),
        ("daily 13:05", 2, 13, 5),
        ("Mon-Tue 6:30", 0, 6, 30),
        ("thu,fri 00:00", 3, 0, 0),
    ],
)
def test_a_time_of_day(words: str, weekday: int, hour: int, minute: int) -> None:
    when = parse_schedule(words)
    due = when.get_next_fire_time(None, WEDNESDAY.astimezone(when.timezone))
    assert (due.hour, due.minute) == (hour, minute)
    assert due.weekday() == weekday or words.startswith("daily")


@pytest.mark.parametrize(
    "words", ["", "sometimes", "every 0h", "every h", "sun 25:00", "sun", "day 02:00", "02:00"]
)
def test_no_schedule(words: str) -> None:
    with pytest.raises(ConfigurationError, match="not a schedule"):
        parse_schedule(words)
