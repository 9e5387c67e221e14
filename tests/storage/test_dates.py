"""A date with slashes is read where its file shows the order, and asked about where not."""

from datetime import datetime

import pytest

from api.http.request_body import parse_csv
from prediction.records.parsing import TimeCell
from storage.text.dates import AmbiguousDate, DateOrder, find_date_order, parse_local_time

READ = {
    "05.12.2024": datetime(2024, 12, 5),
    "5.12.2024 7:05": datetime(2024, 12, 5, 7, 5),
    "25/12/2024 14:30:22": datetime(2024, 12, 25, 14, 30, 22),
    "12/25/2024 2:30 PM": datetime(2024, 12, 25, 14, 30),
    "12/25/24 12:00 am": datetime(2024, 12, 25),
    "2024/03/04 10:00:00.25": datetime(2024, 3, 4, 10, 0, 0, 250_000),
    "25-12-2024 14:30": datetime(2024, 12, 25, 14, 30),
    "12-25-2024": datetime(2024, 12, 25),
    "5-Dec-24 00:00:00": datetime(2024, 12, 5),
    "05 Dec 2024 2:30 PM": datetime(2024, 12, 5, 14, 30),
    "4/4/2024": datetime(2024, 4, 4),
}


@pytest.mark.parametrize(("text", "time"), READ.items())
def test_a_date_that_leaves_no_doubt_is_read(text: str, time: datetime) -> None:
    assert parse_local_time(f" {text} ") == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-12-05",
        "31/02/2024",
        "13/13/2024",
        "1/2",
        "x",
        "25/12/2024 13:00 PM",
        "5.12.20245",
        "14-03-24",
        "5-Dez-24",
        "31-Feb-24",
    ],
)
def test_what_is_no_such_date_is_none(text: str) -> None:
    assert parse_local_time(text) is None


def test_day_and_month_are_exchanged_by_nobody() -> None:
    with pytest.raises(AmbiguousDate):
        parse_local_time("03/04/2024")
    assert parse_local_time("03/04/2024", "day") == datetime(2024, 4, 3)
    assert parse_local_time("03/04/2024", "month") == datetime(2024, 3, 4)
    assert parse_local_time("13/04/2024", "month") is None


def test_a_file_shows_the_order_of_its_dates() -> None:
    assert find_date_order(["03/04/2024", "13/04/2024 10:00", "x"]) == "day"
    assert find_date_order(["03/04/2024", "04/13/2024"]) == "month"
    assert find_date_order(["03-04-2024", "13-04-2024"]) == "day"
    assert find_date_order(["03/04/2024", "04.13.2024"]) is None
    assert find_date_order(["13/04/2024", "04/13/2024"]) is None


@pytest.mark.parametrize(("cell", "order"), [("31.02.2024 10:00", None), ("12/25/2024", "day")])
def test_a_date_that_does_not_exist_is_not_called_two_days(cell: str, order: DateOrder | None) -> None:
    """The cell stays as it is, so that the field refuses it as no time."""
    (row,) = parse_csv(f"timestamp,value\n{cell},1\n".encode(), order)
    assert row["timestamp"] == cell
    assert not isinstance(row["timestamp"], TimeCell)
