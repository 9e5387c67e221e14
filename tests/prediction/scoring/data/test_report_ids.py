"""A report whose id a spreadsheet has changed does not correct another one without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from prediction.contract import ModelKey, NewRecords
from prediction.scoring.data.record_store import ScoringRecordStore
from prediction.scoring.requests.record_validation import parse_scored_reports
from storage.filesystem.append import append_bytes
from tests.prediction.scoring.requests.test_record_validation import record, sentences
from tests.storage.conftest import write_plant

KEY = ModelKey("scoring")


def select(folder: Path, stored: list[str], sent: str) -> NewRecords:
    """Store reports with these ids, and return what is new of another report under one more."""
    write_plant(folder / "data")
    store = ScoringRecordStore(folder / "data")
    texts = [record(anomaly_id=name, description=f"Fuite {n}") for n, name in enumerate(stored)]
    batch = store.select_new(KEY, parse_scored_reports(texts))
    for append in store.plan_append(KEY, batch.new, 1).appends:
        append_bytes(folder / append.path, append.old_size, append.text.encode())
    other = record(anomaly_id=sent, description="Un autre rapport")
    return store.select_new(KEY, parse_scored_reports([other]))


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("00123", "123"),
        ("123", "123.0"),
        ("100000", "1e5"),
        ("1E5", "100000"),
        ("abc-1", "ABC-1"),
        ("A 1", "A\u00a01"),
        ("A1", "A\u200b1"),
        ("A1", "\ufeffA1"),
        ("７", "7"),
    ],
)
def test_an_id_in_another_spelling_is_a_report_of_its_own_and_told(
    tmp_path: Path, stored: str, sent: str
) -> None:
    result = select(tmp_path, [stored], sent)
    assert (len(result.new), result.corrections) == (1, 0)
    (note,) = result.notes
    assert f"in spelling only, such as blanks, case or leading zeros ({sent!r} beside {stored!r})" in note


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (["1234567890123450"], "1234567890123450"),
        (["1-Mar"], "1-Mar"),
        (["01-févr"], "01-févr"),
        (["Mar-24"], "Mar-24"),
        (["123", "00123"], "123"),
    ],
)
def test_a_correction_under_an_id_that_may_stand_for_others_is_told(
    tmp_path: Path, stored: list[str], sent: str
) -> None:
    result = select(tmp_path, stored, sent)
    assert (len(result.new), result.corrections) == (1, 1)
    (note,) = result.notes
    assert f"a spreadsheet may have changed their anomaly_id ({sent!r})" in note


@pytest.mark.parametrize("name", ["A-2024-1", "100000", "1234567890123456", "2024-03-01", "decanter-24"])
def test_a_correction_under_a_plain_id_needs_no_word(tmp_path: Path, name: str) -> None:
    result = select(tmp_path, [name, "B-1"], name)
    assert (result.corrections, result.notes) == (1, ())


def test_invisible_characters_do_not_make_two_reports_of_one_batch() -> None:
    (sentence,) = sentences(record(anomaly_id="A1"), record(anomaly_id="A\u200b1", description="Autre"))
    assert "differs from 'A1' of record 1 in blanks only" in sentence
