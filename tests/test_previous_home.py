"""A home folder of version 0.1 is opened, predicts, trains, undoes, restores and verifies.

``tests/fixtures/previous_home.tar.xz`` was made once by ``make_previous_home.py.txt`` beside it, run at commit
9924de6. Its owner died in the middle of a commit: the journal entry of session 9 is durable and not applied.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prediction import registry
from prediction.contract import ModelKey, Resources
from settings import PROJECT, Settings
from storage.db.scheduler_runs import RetrainDecisions
from training_manager import TrainingManager, open_manager

ARCHIVE = PROJECT / "tests" / "fixtures" / "previous_home.tar.xz"
SCORING = ModelKey("scoring")
MODELS = (
    "damage/fan",
    "forecasting/line-1",
    "rul/pumps",
    "scoring/default",
    "sensors/13-anomaly",
    "sensors/13-calibration",
    "sensors/13-drift",
)
NEW_RECORDS = [
    {
        "anomaly_id": f"NEW-{number}",
        "description": "fuite de vapeur sur la bride du corps de pompe",
        "equipment_name": "POMPE ALIMENTAIRE",
        "equipment_id": "98b82203-7170-45bf-879e-f47ba6e12c86",
        "availability_score": 3,
        "fiability_score": 2,
        "process_safety_score": 4,
    }
    for number in range(3)
]


RENAMED_FIELDS = {"overall": "mean_score", "evidence": "similar_reports"}
"""Fields of predictions that version 0.2 renamed."""


@dataclass(frozen=True)
class PreviousHome:
    """The opened home folder, and what its own version said of it."""

    manager: TrainingManager
    facts: dict[str, Any]


@pytest.fixture
def unopened(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "home"


@pytest.fixture
def home(unopened: Path) -> Iterator[PreviousHome]:
    settings = Settings(home=unopened, sentence_model="none", tracking_uri="none", executor="in-process")
    manager = open_manager(settings)
    manager.recover()
    yield PreviousHome(manager, json.loads((unopened / "fixture.json").read_text(encoding="utf-8")))
    manager.close()
    manager.storage.close()


def assert_close(actual: Any, expected: Any) -> None:
    """Compare answers: numbers up to rounding, everything that was said then must be said now."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_close(actual[RENAMED_FIELDS.get(name, name)], value)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        # Answers have six decimals: the last one may be rounded the other way.
        assert actual == pytest.approx(expected, rel=1e-5, abs=1.5e-6)
    else:
        assert actual == expected


def test_the_commit_that_its_owner_did_not_survive_is_finished(home: PreviousHome) -> None:
    storage = home.manager.storage
    assert not (storage.settings.data_dir / "journal" / "entry.json").exists()
    session = home.manager.sessions.get(home.facts["unfinished"])
    assert (session.state, session.records_added) == ("completed", 1)
    assert storage.versions.numbers(SCORING.path) == [1, 2, 3]
    assert storage.versions.pointer(SCORING.path) == (3 if session.promoted else 2)
    assert len(storage.csv.read()) == 405


def count_rows(home: Path) -> dict[str, int]:
    """Return the rows of each table of what plants send."""
    tables = ("sensors", "readings", "calibrations", "sensor_data", "failure_events")
    with closing(sqlite3.connect(home / "data" / "millwright.db")) as database:
        return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_the_upgrade_keeps_every_row(unopened: Path) -> None:
    before = count_rows(unopened)
    assert min(before.values()) > 0
    open_manager(Settings(home=unopened, sentence_model="none", tracking_uri="none")).close()
    assert count_rows(unopened) == before


def test_every_model_is_in_the_index_with_its_champion(home: PreviousHome) -> None:
    storage = home.manager.storage
    records = storage.champions.page("default")
    assert tuple(f"{record.family}/{record.name}" for record in records) == MODELS
    for record in records:
        assert record.version == storage.versions.pointer(record.path)


def test_every_version_is_whole_and_predicts_as_it_did(home: PreviousHome) -> None:
    settings, versions = home.manager.storage.settings, home.manager.storage.versions
    for address, recorded in home.facts["models"].items():
        path, _, number = address.rpartition("/")
        version, key = versions.get(path, int(number)), ModelKey.from_path(path)
        versions.verify(version)
        predictor = registry.load_predictor(key.family).load(version.folder, Resources(settings.cache_dir))
        inputs = registry.create_parser(key.family).parse_inputs(recorded["asked"])
        assert_close(predictor.predict(list(inputs.records), {}), recorded["answers"])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_again(home: PreviousHome, model: str) -> None:
    family, _, name = model.partition("/")
    key = ModelKey(family, name)
    options = home.manager.storage.versions.champion(key.path).manifest["options"]
    records = NEW_RECORDS if key == SCORING else None
    session = home.manager.train(key, records, options).session
    assert session is not None
    assert session.state in ("completed", "rejected"), session.error
    assert session.records_added == len(records or [])


def test_every_session_with_a_version_has_a_report(home: PreviousHome) -> None:
    sessions = [row for row in home.manager.sessions.list("default") if row.version is not None]
    assert {row.family for row in sessions} >= {model.partition("/")[0] for model in MODELS} - {"sensors"}
    for session in sessions:
        fingerprint = home.manager.storage.versions.get(
            f"default/{session.family}/{session.name}", session.version or 0
        ).manifest["fingerprint"]
        assert fingerprint in home.manager.reports.file(session.id, "default", "html").read_text()


def test_records_of_a_session_can_be_taken_out(home: PreviousHome) -> None:
    before = len(home.manager.storage.csv.read())
    session = home.manager.undo(home.facts["undo"], "default").session
    assert session is not None
    assert session.state in ("completed", "rejected"), session.error
    assert len(home.manager.storage.csv.read()) == before - 2


def test_backups_are_whole_and_can_be_restored(home: PreviousHome) -> None:
    storage, backups = home.manager.storage, home.manager.backups
    assert all(storage.backups.verify(backup.name).verified for backup in storage.backups.list())
    assert storage.backups.get(home.facts["backup"]).retained
    backups.restore(home.facts["backup"], "default")
    assert storage.versions.pointer(SCORING.path) == 1
    assert len(storage.csv.read()) == 402
    backups.restore(home.facts["everything"], "default")
    assert storage.versions.pointer("default/rul/pumps") == 1


def test_keys_responses_and_decisions_are_read(home: PreviousHome) -> None:
    storage = home.manager.storage
    identity = storage.keys.authenticate(home.facts["secret"])
    assert identity is not None
    assert (identity.tenant, identity.role) == ("default", "train")
    assert storage.keys.authenticate(home.facts["revoked"]) is None
    response = storage.idempotency.begin("kept-key", "default", "POST /train", "0" * 64)
    assert response is None or response.status == 200, "it is kept for a day"
    decisions = RetrainDecisions(storage.database).list("default")
    assert {(decision.run_id, decision.action) for decision in decisions} == {("hour 1", "leave")}
    assert len(home.manager.sessions.list("default")) == 9
