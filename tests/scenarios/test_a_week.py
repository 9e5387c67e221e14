"""A week of a plant, from the upgrade of its home folder to the move to another machine.

One server runs over the home folder of version 0.1; a second one takes over where the folder has moved. After each
step the files, the answers, the sessions and the health of the server must agree with each other.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import requests

from demo.anomaly_reports import demo_records
from storage.anomaly_reports.csv_store import CsvStore
from tests.cli.runner import run_json
from tests.live_server import live_server
from tests.test_previous_home import ARCHIVE, MODELS
from tests.waiting import MAX_WAIT_SECONDS

pytestmark = [pytest.mark.server, pytest.mark.slow]

STORED_AT_FIRST = 405
FIELDS = (
    "description", "equipment_name", "equipment_id", "availability_score", "fiability_score", "process_safety_score",
)  # fmt: skip


class Week:
    """A home folder, the server over it, and what must be stored in it.

    Attributes
    ----------
    records : int
        How many reports a training reads.
    session : int
        The number of the last session.
    """

    def __init__(self, home: Path, keys: Path) -> None:
        self.home = home
        self.key_file = keys
        self.address = ""
        self.records = STORED_AT_FIRST
        self.session = 0
        self._running = ExitStack()

    def start(self) -> None:
        self.address = self._running.enter_context(
            live_server(self.home, sentence_model="none", demo_data=0, restore_drill_hours=0)
        )

    def stop(self) -> None:
        self._running.close()

    def use_key(self, secret: str) -> None:
        self.key_file.write_text(f"# written by the administrator\n{secret}\n")

    def request(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key_file.read_text().split()[-1]}"}
        return requests.request(
            method, self.address + path, json=body, headers=headers, timeout=MAX_WAIT_SECONDS
        )

    def get(self, path: str) -> Any:
        answer = self.request("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.request("POST", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def millwright(self, *command: object, code: int = 0) -> Any:
        """Run a command beside the server."""
        port = self.address.rpartition(":")[2]
        return run_json(*command, home=self.home, code=code, port=port)

    def train(self, *records: dict[str, Any], added: int) -> dict[str, Any]:
        """Send a batch; so many records are added by it."""
        answer = self.post("/train", list(records))
        assert answer["success"]
        assert answer["statistics"]["total_records_added"] == added
        self.records += added - answer["corrections"]
        return answer

    def check(self) -> None:
        """Check that files, answers, sessions, backups and health agree."""
        assert len(CsvStore(self.home / "data").read()) == self.records
        status, health = self.get("/train/status"), self.get("/health")
        sessions = self.get("/train/sessions?limit=100")["results"]
        numbers = [session["training_session_id"] for session in sessions]
        assert numbers == sorted(set(numbers), reverse=True)
        assert numbers[0] >= self.session
        self.session = numbers[0]
        assert all(session["ended_at"] for session in sessions)
        assert status["is_training"] is False
        assert status["last_training"]["training_session_id"] in numbers
        assert health["status"] == "ok", health
        assert [champion["model"] for champion in health["champions"]] == list(MODELS)
        backups = self.get("/train/backups")["backups"]
        assert status["available_backups"] == len(backups)
        assert all(backup["verified"] for backup in backups)
        champion = next(c["version"] for c in health["champions"] if c["model"] == "scoring/default")
        answer = self.request("POST", "/predict", report("probe"))
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Model-Version"] == str(champion)


def report(anomaly_id: str, **changes: Any) -> dict[str, Any]:
    """Return a scored report of the demo plant, the same for the same id."""
    (made,) = demo_records(1, seed=crc32(anomaly_id.encode()))
    known = {name: value for name, value in made.items() if name in FIELDS}
    return {**known, "anomaly_id": anomaly_id, "detected_at": "2026-12-01T06:15:42Z", **changes}


def save_in_excel(file: Path) -> None:
    """Save a file as a French Excel does that was asked for “CSV UTF-8”."""
    content = file.read_text(encoding="utf-8-sig")
    rows = csv.reader(
        io.StringIO(content, newline=""), delimiter=";" if ";" in content.split("\n")[0] else ","
    )
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows(map(excel_cell, row) for row in rows)
    file.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())


def excel_cell(text: str) -> str:
    """Return a cell as Excel shows it, which is what it saves."""
    if match := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d) (\d\d:\d\d):\d\d", text):
        return f"{match[3]}/{match[2]}/{match[1]} {match[4]}"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return f"{float(text):.10g}".replace(".", ",")
    return text


@pytest.fixture
def week(tmp_path: Path) -> Iterator[Week]:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    made = Week(tmp_path / "home", tmp_path / "key")
    try:
        yield made
    finally:
        made.stop()


def test_a_week(week: Week) -> None:
    facts = json.loads((week.home / "fixture.json").read_text())
    monday_the_upgrade(week, facts)
    tuesday_a_correction(week)
    wednesday_excel_saves_the_files(week, facts)
    thursday_a_restore(week)
    friday_the_keys_are_rotated(week)
    saturday_the_home_moves(week)


def monday_the_upgrade(week: Week, facts: dict[str, Any]) -> None:
    """Find the keys, models, sessions and backups of version 0.1, and the commit that it left behind."""
    week.use_key(facts["secret"])
    week.start()
    week.check()
    assert week.session == facts["unfinished"]
    assert week.request("POST", "/train/restore/backup_20241205_143022").status_code == 403
    week.use_key(week.millwright("keys", "create", "--role", "admin", "--label", "operator")["secret"])
    trained = week.train(report("MON-1"), report("MON-2", equipment_id="007"), added=2)
    assert trained["training_session_id"] == facts["unfinished"] + 1
    again = week.post("/train", [report("MON-1")])
    assert (again["training_session_id"], again["records_skipped"]) == (None, 1)
    week.check()


def tuesday_a_correction(week: Week) -> None:
    corrected = report("MON-1", description="Fuite d’huile au palier ; côté libre", fiability_score=2.5)
    trained = week.train(corrected, report("TUE-1", equipment_id="008"), report("TUE-2"), added=3)
    assert trained["corrections"] == 1
    assert week.post("/train", [report("MON-1")])["records_skipped"] == 1, (
        "a superseded score is no correction"
    )
    week.check()


def wednesday_excel_saves_the_files(week: Week, facts: dict[str, Any]) -> None:
    """Nothing is read as something else, and Tuesday's batch is taken out of the saved files."""
    for file in (week.home / "data").glob("*.csv"):
        save_in_excel(file)
    week.check()
    tuesday = week.session
    undone = week.post(f"/train/undo/{tuesday}")
    assert not any("recognised" in warning for warning in undone["warnings"]), undone["warnings"]
    week.records -= 2
    week.check()
    week.train(report("WED-1", description="Purgeur bloqué ; vapeur"), added=1)
    assert (week.home / "data" / "disponibilite.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    week.check()
    week.post(f"/train/undo/{tuesday}", status=409)
    week.post(f"/train/undo/{facts['undo']}")
    week.records -= 2
    week.check()


def thursday_a_restore(week: Week) -> None:
    """Back to Wednesday morning, and on from there with new numbers."""
    backups = week.get("/train/backups")["backups"]
    name = next(backup["name"] for backup in backups if backup["training_session_id"] == week.session)
    before = week.session
    restored = week.post(f"/train/restore/{name}")
    assert restored["success"]
    week.records += 2
    week.check()
    trained = week.train(report("THU-1"), added=1)
    assert trained["training_session_id"] == before + 1
    week.check()


def friday_the_keys_are_rotated(week: Week) -> None:
    """Replace the key; the old one is refused at once, for the nightly command, too."""
    old = next(key for key in week.millwright("keys", "list")["keys"] if key["label"] == "operator")
    retired = week.key_file.read_text()
    week.use_key(week.millwright("keys", "create", "--role", "admin", "--label", "operator 2027")["secret"])
    week.millwright("keys", "revoke", old["id"])
    current = week.key_file.read_text()
    week.key_file.write_text(retired)
    assert week.request("GET", "/train/status").status_code == 401
    source = week.home.parent / "export.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(report("")))
        writer.writeheader()
        writer.writerows([report("FRI-1"), report("FRI-2")])
    nightly = ("train", "incremental", "--file", source, "--min-records", 1, "--api-key-file", week.key_file)
    week.millwright(*nightly, code=8)
    week.key_file.write_text(current)
    week.millwright(*nightly)
    week.records += 2
    week.millwright(*nightly, code=3)
    week.check()


def saturday_the_home_moves(week: Week) -> None:
    """Move the home: it answers as before, trains, and restores what was backed up before the move."""
    probe = report("probe")
    before = week.post("/predict?similar_reports=3", probe)["predictions"]
    week.stop()
    week.home = week.home.rename(week.home.parent / "moved")
    week.start()
    assert week.post("/predict?similar_reports=3", probe)["predictions"] == before
    week.check()
    week.train(report("SAT-1"), added=1)
    week.check()
    for backup in week.get("/train/backups")["backups"]:
        assert week.post(f"/train/backups/{backup['name']}/verify")["verified"]
    last = week.get("/train/backups")["backups"][0]
    week.post(f"/train/restore/{last['name']}")
    week.records -= 1
    week.check()
