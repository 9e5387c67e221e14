"""What a request for remaining life may say, and what is refused."""

from __future__ import annotations

import pytest

from errors import InvalidRecords
from prediction.rul.request_parser import RulRequestParser

ROW = {"temperature": 61.5}


@pytest.mark.parametrize("name", [{"x": 1}, 12, " ", ["P-1"], "P-1\0"])
def test_the_name_of_a_device_beside_rows_is_a_text(name: object) -> None:
    with pytest.raises(InvalidRecords) as refusal:
        RulRequestParser().parse_inputs({"rows": [ROW], "device_id": name})
    sentences = refusal.value.facts["validation_errors"]
    assert len(sentences) == 1 and "device_id must be a text of 1 to 200 characters" in sentences[0]


def test_rows_need_no_name() -> None:
    (window,) = RulRequestParser().parse_inputs({"rows": [ROW, ROW]}).records
    assert window["device_id"] is None and not window["dated"]


def test_either_all_rows_have_a_time_or_none() -> None:
    rows = [{**ROW, "timestamp": "2026-03-01T12:00:00Z"}, ROW, {**ROW, "timestamp": None}]
    with pytest.raises(InvalidRecords) as refusal:
        RulRequestParser().parse_inputs(rows)
    assert [(fault["record"], fault["field"]) for fault in refusal.value.facts["errors"]] == [
        (2, "timestamp"),
        (3, "timestamp"),
    ]
