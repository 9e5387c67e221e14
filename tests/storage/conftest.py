"""A home folder with a small plant in it, and the means to kill a process at a chosen instant."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from settings import Settings
from storage.anomaly_reports.csv_store import FILES
from storage.anomaly_reports.reports import COLUMNS, SCORE_COLUMNS
from storage.container import Storage, open_storage
from storage.db.database import Database
from tests.conftest import own_schema

MODEL = "default/scoring/default"
HEADERS = {score: ",".join([*COLUMNS.values(), SCORE_COLUMNS[score]]) for score in FILES}


def record(number: int, **changes: object) -> dict[str, object]:
    """Return a report as it comes out of validation."""
    return {
        "anomaly_id": f"A-{number}",
        "description": f"fuite d'huile n° {number}",
        "equipment_name": "Pompe",
        "equipment_id": f"eq-{number % 3}",
        "availability_score": 1 + number % 5,
        "fiability_score": 2.5,
        "process_safety_score": 5.0,
        "system": "S1",
        "owner_section": "34MC",
        "detected_at": f"2024-12-05 14:30:{number % 60:02d}",
    } | changes


def write_plant(data_dir: Path, rows: int = 3, ending: str = "\n") -> None:
    """Return the three files as a plant keeps them, all with the same reports."""
    data_dir.mkdir(parents=True, exist_ok=True)
    for score, name in FILES.items():
        lines = [
            HEADERS[score],
            *(f"e{n},s,Texte {n},2024-01-0{n + 1} 10:00:00,,34MC,{n + 1}" for n in range(rows)),
        ]
        (data_dir / name).write_bytes("".join(line + ending for line in lines).encode())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home folder with data files and nothing else."""
    write_plant(tmp_path / "data")
    return tmp_path


@pytest.fixture
def storage(home: Path) -> Iterator[Storage]:
    """Everything opened over that home, on SQLite."""
    opened = open_storage(Settings(home=home))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with all tables and no row."""
    folder = tmp_path_factory.mktemp("migrated")
    made = Database(f"sqlite:///{folder / 'test.db'}", folder / "run")
    made.migrate()
    made.close()
    return folder / "test.db"


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a PostgreSQL schema with all tables."""
    with own_schema(postgres_server) as url:
        made = Database(url, tmp_path_factory.mktemp("run"))
        made.migrate()
        made.close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Return a database with all tables and no row, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "test.db")
        made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    else:
        made = Database(request.getfixturevalue("migrated_postgres"), tmp_path / "run")
        with made.write() as connection:
            names = ", ".join(set(sa.inspect(connection).get_table_names()) - {"alembic_version"})
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    yield made
    made.close()


def in_child(work: Callable[[], object]) -> int:
    """Do some work in a forked process; its exit status, negative where a signal ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


KILLED = -signal.SIGKILL
