"""Steps that a calendar makes: months, working days, and midnights on a clock that changes."""

from __future__ import annotations

import numpy as np
import pytest

from storage.calendar_steps import CalendarStep, StepKind
from storage.times import DAY_NS


def ns(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[ns]").astype(np.int64)


def days(times: np.ndarray) -> list[str]:
    return [str(time) for time in times.astype("datetime64[ns]").astype("datetime64[m]")]


def business_days(first: str, count: int) -> np.ndarray:
    dates = np.busday_offset(first, np.arange(count), roll="forward")
    return dates.astype("datetime64[ns]").astype(np.int64)


def test_working_days_follow_each_other_over_weekends():
    times = business_days("2024-01-01", 30)
    step = CalendarStep.detect(times)
    assert step.kind is StepKind.BUSINESS_DAY and step.seasons() == (5,)
    whole, is_regular = step.count(times)
    assert is_regular.all() and (whole == 1).all()
    assert days(step.extend(ns("2024-02-08", "2024-02-09"), 2)) == ["2024-02-12T00:00", "2024-02-13T00:00"]
    # A holiday is a missing step.
    assert list(step.count(np.delete(times, 7))[0]).count(2) == 1


def test_a_table_with_a_weekend_has_plain_days():
    times = ns("2024-01-01") + np.delete(np.arange(30), [12, 13]) * 86_400 * 10**9
    assert CalendarStep.detect(times).kind is StepKind.FIXED


@pytest.mark.parametrize(
    ("texts", "ahead"),
    [
        (("2023-11-30", "2023-12-31", "2024-01-31"), ["2024-02-29T00:00", "2024-03-31T00:00"]),
        (("2023-03-31", "2023-06-30", "2023-09-30"), ["2023-12-31T00:00", "2024-03-31T00:00"]),
        (("2021-01-01", "2022-01-01", "2023-01-01"), ["2024-01-01T00:00", "2025-01-01T00:00"]),
    ],
)
def test_months_quarters_and_years_keep_their_day(texts, ahead):
    step = CalendarStep.detect(ns(*texts))
    assert step.kind is StepKind.MONTH
    assert days(step.extend(ns(*texts), 2)) == ahead
    assert step.count(ns(*texts))[1].all()


@pytest.mark.parametrize("length", [28, 30, 84, 90, 91, 182, 360, 364])
def test_a_fixed_number_of_days_is_no_month(length):
    times = ns("2022-01-10") + np.arange(8) * length * DAY_NS
    step = CalendarStep.detect(times)
    assert (step.kind, step.nanoseconds) == (StepKind.FIXED, length * DAY_NS)
    assert list(step.extend(times, 2)) == [times[-1] + length * DAY_NS * ahead for ahead in (1, 2)]
    assert CalendarStep.from_length(length * DAY_NS).kind is StepKind.FIXED


@pytest.mark.parametrize(("length", "months"), [(31, 1), (92, 3), (365, 12)])
def test_the_usual_length_of_months_alone_is_taken_for_months(length, months):
    assert CalendarStep.from_length(length * DAY_NS).months == months


def test_the_last_working_days_of_months_are_months():
    step = CalendarStep.detect(ns("2024-01-31", "2024-02-29", "2024-03-29", "2024-04-30", "2024-05-31"))
    assert step.kind is StepKind.MONTH and step.months == 1


def test_missing_months_are_whole_steps():
    months = np.arange("2020-01", "2022-01", dtype="datetime64[M]").astype("datetime64[ns]").astype(np.int64)
    step = CalendarStep.detect(months)
    whole, is_regular = step.count(np.delete(months, slice(3, 14)))
    assert is_regular.all() and whole.max() == 12 and step.seasons() == (12,)


def test_local_midnight_stays_midnight_when_the_clocks_change():
    local = ns("2024-03-29T23:00", "2024-03-30T23:00", "2024-03-31T22:00")
    step = CalendarStep.detect(local, "Europe/Paris")
    assert days(step.extend(ns("2024-03-29T23:00", "2024-03-30T23:00"), 2)) == [
        "2024-03-31T22:00", "2024-04-01T22:00",
    ]  # fmt: skip
    assert step.count(local)[1].all()
    assert days(CalendarStep.detect(local[:2]).extend(local[:2], 1)) == ["2024-03-31T23:00"]


def test_hours_are_not_stretched_by_a_clock():
    hours = ns("2024-03-31T00:00") + np.arange(3) * 3600 * 10**9
    step = CalendarStep.detect(hours, "Europe/Paris")
    assert days(step.extend(hours, 1)) == ["2024-03-31T03:00"]
