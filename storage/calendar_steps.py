"""Steps between the rows of a table: a fixed time, a working day, or months, which differ in length.

Days and longer follow a clock on the wall where a time zone is named: between two midnights of a night in which the
clocks change lie 23 or 25 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from storage.times import DAY_NS, NO_TIME, most_common_step, step_tolerance

Times = NDArray[np.int64]

_MONTH_NS: Final = 365.2425 / 12 * DAY_NS
# The most common days of so many months. Others, such as 28 or 30, are as likely to be a fixed time.
_USUAL_MONTH_DAYS: Final = {31: 1, 61: 2, 92: 3, 184: 6, 365: 12}
# Weekends that a table must leave out before its days count as working days.
_MIN_WEEKENDS: Final = 2
_WEEKDAYS: Final = 5
# Working days in a row that may be holidays, as at the turn of a year; more are a gap.
_MAX_HOLIDAYS: Final = 5
# 1970-01-01 was the fourth day of its week.
_EPOCH_WEEKDAY: Final = 3


class StepKind(StrEnum):
    """How a step is counted."""

    FIXED = "fixed"
    BUSINESS_DAY = "business_day"
    MONTH = "month"


@dataclass(frozen=True)
class CalendarStep:
    """The rhythm of a table.

    Parameters
    ----------
    nanoseconds : int
        The most common time between two rows.
    months : int
        Of one step, where steps are counted in months.
    time_zone : str, optional
        IANA name of the zone whose clock steps of days and longer follow; UTC where none is named.
    """

    nanoseconds: int
    kind: StepKind = StepKind.FIXED
    months: int = 0
    time_zone: str | None = None

    @classmethod
    def detect(cls, times: Times, time_zone: str | None = None) -> CalendarStep | None:
        """Return the step of most rows; None of fewer than two times."""
        length = most_common_step(times)
        if length is None:
            return None
        local = _to_local(np.unique(times[times != NO_TIME]), time_zone)
        if length > DAY_NS - step_tolerance(DAY_NS):
            # Of few nights, those in which the clocks change would count.
            length = most_common_step(local) or length
        if _leaves_weekends_out(local, length):
            return cls(length, StepKind.BUSINESS_DAY, 0, time_zone)
        months = round(length / _MONTH_NS)
        # Of times that fit both, months are the likelier ones.
        if abs(length - months * _MONTH_NS) <= step_tolerance(length) and (
            _find_day_of_month(local)[1] <= _compute_mean_jitter(local, length)
        ):
            return cls(length, StepKind.MONTH, months, time_zone)
        return cls(length, StepKind.FIXED, 0, time_zone)

    @classmethod
    def from_length(cls, length: int) -> CalendarStep:
        """Return the likeliest step of which only the most common length is known."""
        days, rest = divmod(length, DAY_NS)
        if rest == 0 and days in _USUAL_MONTH_DAYS:
            return cls(length, StepKind.MONTH, _USUAL_MONTH_DAYS[days])
        return cls(length)

    def describe(self) -> str:
        """Return the step in words."""
        if self.kind is StepKind.BUSINESS_DAY:
            return "a working day"
        if self.kind is StepKind.MONTH:
            return "a month" if self.months == 1 else f"{self.months} months"
        return f"{self.nanoseconds / 1e9:g} s"

    @property
    def follows_clock(self) -> bool:
        """Whether a step is a day or longer, so that it follows a clock on the wall."""
        return self.kind is not StepKind.FIXED or self.nanoseconds % DAY_NS == 0

    def count(self, times: Times) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return how many steps lie between neighbouring times, and whether they are whole ones.

        Times jitter, so an eighth of a step is no difference.
        """
        local = _to_local(times, self.time_zone) if self.follows_clock else times
        lengths = np.diff(local)
        if self.kind is StepKind.FIXED:
            whole = np.round(lengths / self.nanoseconds).astype(np.int64)
            return whole, np.abs(lengths - whole * self.nanoseconds) <= step_tolerance(self.nanoseconds)
        moments = local.astype("datetime64[ns]")
        if self.kind is StepKind.BUSINESS_DAY:
            days = moments.astype("datetime64[D]")
            whole = np.busday_count(days[:-1], days[1:]).astype(np.int64)
            clock = local - days.astype("datetime64[ns]").astype(np.int64)
            return whole, np.abs(np.diff(clock)) <= step_tolerance(DAY_NS)
        nominal = np.round(lengths / (self.months * _MONTH_NS)).astype(np.int64)
        usual = nominal * self.months * _MONTH_NS
        return nominal, np.abs(lengths - usual) <= step_tolerance(self.nanoseconds)

    def follows(self, times: Times) -> NDArray[np.bool_]:
        """Tell of each time but the first whether it is the next one after that before it.

        Between working days there may be holidays: a model counts the days that are worked.
        """
        whole, is_regular = self.count(times)
        longest = 1 + _MAX_HOLIDAYS if self.kind is StepKind.BUSINESS_DAY else 1
        return is_regular & (whole >= 1) & (whole <= longest)

    def extend(self, times: Times, count: int) -> Times:
        """Return the times that follow.

        Parameters
        ----------
        times : ndarray of int64
            The last ones, from which the day of the month is taken.
        """
        return self._advance(times[-1:], np.arange(1, count + 1), times)

    def count_grid(self, times: Times) -> int:
        """Return how many times an even grid from the first to the last of these has."""
        return int(self.count(times[[0, -1]])[0][0]) + 1

    def build_grid(self, times: Times) -> Times:
        """Return even times from the first to the last of these, which may jitter."""
        grid: Times = self._advance(times[:1], np.arange(self.count_grid(times)), times)
        is_within = grid <= times[-1] + step_tolerance(self.nanoseconds)
        return np.compress(is_within, grid)

    def fill(self, times: Times, rows: NDArray[np.int64]) -> Times:
        """Return a time for every row up to the last: the known ones at their rows, and those between them."""
        every = np.arange(int(rows[-1]) + 1)
        if self.kind is StepKind.FIXED:
            # Between two known rows the missing times are evenly spaced.
            filled = times[0] + np.round(np.interp(every, rows, (times - times[0]).astype(float)))
        else:
            before = np.searchsorted(rows, every, side="right") - 1
            filled = self._advance(times[before], every - rows[before], times)
        all_times: Times = filled.astype(np.int64)
        # Interpolation in float64 rounds nanoseconds, and days of months jitter: the known times are put back.
        all_times[rows] = times
        return all_times

    def _advance(self, starts: Times, steps: NDArray[np.int64], times: Times) -> Times:
        """Return the times so many steps after the starts; the day of the month is that of ``times``."""
        if not self.follows_clock:
            fixed: Times = starts + self.nanoseconds * steps
            return fixed
        local = _to_local(starts, self.time_zone)
        if self.kind is StepKind.FIXED:
            return _to_utc(local + self.nanoseconds * steps, self.time_zone)
        moments = local.astype("datetime64[ns]")
        clock = local % DAY_NS
        if self.kind is StepKind.BUSINESS_DAY:
            dates = np.busday_offset(moments.astype("datetime64[D]"), steps, roll="backward")
        else:
            day, _ = _find_day_of_month(_to_local(times, self.time_zone))
            months = moments.astype("datetime64[M]") + (self.months * steps).astype("timedelta64[M]")
            # The 31st of a month is the last day of shorter ones.
            dates = months.astype("datetime64[D]") + np.minimum(day, _days_in(months) - 1)
        return _to_utc(dates.astype("datetime64[ns]").astype(np.int64) + clock, self.time_zone)

    def seasons(self) -> tuple[int, ...]:
        """Return the rows of a day, a week or a year, where these are whole numbers of steps."""
        if self.kind is StepKind.BUSINESS_DAY:
            return (_WEEKDAYS,)
        if self.kind is StepKind.MONTH:
            return (12 // self.months,) if self.months < 12 and 12 % self.months == 0 else ()
        periods = (DAY_NS, 7 * DAY_NS)
        return tuple(period // self.nanoseconds for period in periods if period // self.nanoseconds > 1)


def _leaves_weekends_out(local: Times, length: int) -> bool:
    """Tell whether rows are days from Monday to Friday, with weekends between them."""
    if abs(length - DAY_NS) > step_tolerance(DAY_NS):
        return False
    days = local // DAY_NS
    weekdays = (days + _EPOCH_WEEKDAY) % 7
    weekends = (np.diff(days) == 3) & (weekdays[:-1] == _WEEKDAYS - 1)
    return bool((weekdays < _WEEKDAYS).all() and weekends.sum() >= _MIN_WEEKENDS)


def _find_day_of_month(local: Times) -> tuple[int, float]:
    """Return the day, from 0, that is nearest to the days of these times, and their mean distance in days.

    A day that a month does not have is its last one.
    """
    moments = local.astype("datetime64[ns]")
    months = moments.astype("datetime64[M]")
    days = (moments.astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    candidates = np.unique(days)
    distances = np.abs(days - np.minimum(candidates[:, None], _days_in(months) - 1)).mean(axis=1)
    best = int(distances.argmin())
    return int(candidates[best]), float(distances[best])


def _days_in(months: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the number of days of each month."""
    lengths: NDArray[np.int64] = (
        (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    ).astype(np.int64)
    return lengths


def _compute_mean_jitter(local: Times, length: int) -> float:
    """Return by how many days the times between rows differ from whole steps, in the mean."""
    lengths = np.diff(local)
    return float(np.abs(lengths - np.round(lengths / length) * length).mean() / DAY_NS)


def _to_local(times: Times, time_zone: str | None) -> Times:
    """Return what a clock in the zone shows, as nanoseconds; unknown times stay unknown."""
    if time_zone is None:
        return times
    zone = ZoneInfo(time_zone)
    shifts = [
        0 if time == NO_TIME else _offset_ns(datetime.fromtimestamp(time // 10**9, zone))
        for time in times.tolist()
    ]
    return times + np.array(shifts, dtype=np.int64)


def _to_utc(local: Times, time_zone: str | None) -> Times:
    """Return the instants at which a clock in the zone shows these times, the first one where it does so twice."""
    if time_zone is None:
        return local
    zone = ZoneInfo(time_zone)
    shown = [datetime.fromtimestamp(time // 10**9, UTC).replace(tzinfo=zone) for time in local.tolist()]
    return local - np.array([_offset_ns(moment) for moment in shown], dtype=np.int64)


def _offset_ns(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) * 10**9
