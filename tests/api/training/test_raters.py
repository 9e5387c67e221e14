"""A plant whose records name their raters, as a client sees it: warnings, agreement, undo and restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from storage.anomaly_reports.record_raters import RATERS_FILE
from tests.api.conftest import open_app, settings_in
from tests.prediction.scoring.plant import record, records, write_reports

SENT_FIELDS = {"record_sha256", "source"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    write_reports(tmp_path / "data", records(60))
    yield from open_app(settings_in(tmp_path))


def sent(number: int, rater: str, **changes: Any) -> dict[str, object]:
    report = record(number, "V-07", "odeur de brûlé, fumée", **changes)
    return {name: value for name, value in report.items() if name not in SENT_FIELDS} | {"rater": rater}


def test_raters_are_compared_and_follow_undo_and_restore(client: FlaskClient, tmp_path: Path) -> None:
    assert client.get("/train/statistics").get_json()["raters"] == []
    wrong = sent(901, "j.martin", process_safety_score=1.0)
    first = client.post("/train", json=[sent(900, "m.dupont"), wrong]).get_json()
    assert first["ignored_fields"] == []
    (warning,) = [text for text in first["warnings"] if "contradicts" in text]
    assert warning.startswith("Record A-901: process safety 1 contradicts") and " with 5 (A-" in warning
    session = client.get(f"/train/sessions/{first['training_session_id']}").get_json()
    assert warning in session["warnings"]

    statistics = client.get("/train/statistics").get_json()
    assert statistics["sources"] == []
    raters = {rater["name"]: rater for rater in statistics["raters"]}
    assert raters.keys() == {"j.martin", "m.dupont"}
    assert raters["m.dupont"]["agreement"]["process_safety"]["same"] == 1.0
    assert raters["j.martin"]["agreement"]["process_safety"] == {
        "compared": 1,
        "same": 0.0,
        "mean_difference": -4.0,
    }

    backup = client.post("/train/backups").get_json()["name"]
    assert client.post(f"/train/undo/{first['training_session_id']}").status_code == 200
    assert client.get("/train/statistics").get_json()["raters"] == []
    assert client.post(f"/train/restore/{backup}").status_code == 200
    restored = client.get("/train/statistics").get_json()["raters"]
    assert restored == statistics["raters"]
    assert (tmp_path / "data" / RATERS_FILE).read_text().count("m.dupont") == 1


def test_statistics_say_why_raters_cannot_be_compared(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "data" / RATERS_FILE).write_text("something else\n1\n")
    statistics = client.get("/train/statistics").get_json()
    assert (statistics["raters"], statistics["sources"]) == (None, None)
    assert RATERS_FILE in statistics["raters_error"]
