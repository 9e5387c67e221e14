"""SQLite and PostgreSQL behave the same, and what they refuse is told in words."""

import importlib
import os
import pkgutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import storage
from errors import ConfigurationError, DiskFull, NotReady, StorageFailed
from settings import PROJECT
from storage.db import migrations
from storage.db.database import Database
from storage.db.sessions import SessionStore
from storage.db.tables import api_keys, metadata, workers
from tests.storage.conftest import in_child
from tests.waiting import MAX_WAIT_SECONDS


def test_the_steps_make_the_very_tables_the_code_uses(database):
    for module in pkgutil.walk_packages(storage.__path__, "storage."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)  # a family's own tables count too

    def differ(*compared):
        """Leave lengths of texts to PostgreSQL: SQLite keeps none, and a step cannot change them there."""
        *_, stored, wanted = compared
        both = isinstance(stored, sa.String) and isinstance(wanted, sa.String)
        return False if both and database.engine.dialect.name == "sqlite" else None

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": differ})
        assert compare_metadata(context, metadata) == []


def test_the_newest_step_is_the_one_the_code_names():
    assert (
        ScriptDirectory(str(Path(PROJECT) / "storage" / "db" / "migrations")).get_current_head()
        == migrations.HEAD
    )


def test_migrating_again_changes_nothing(database):
    SessionStore(database).create(tenant="default", family="scoring", name="default", kind="train")
    database.migrate()
    assert database.revision() == migrations.HEAD
    assert len(SessionStore(database).list("default")) == 1


def test_several_processes_may_start_at_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'new' / 'test.db'}"
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            Database(url, tmp_path / "run").migrate()
            os._exit(0)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
    assert Database(url, tmp_path / "run").revision() == migrations.HEAD


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_tables_of_a_newer_millwright_are_not_touched(request, tmp_path, server):
    url = (
        f"sqlite:///{tmp_path / 'test.db'}" if server == "sqlite" else request.getfixturevalue("postgres_url")
    )
    made = Database(url, tmp_path / "run")
    made.migrate()
    with made.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer"):
        made.migrate()
    made.close()


class _PostgresError(Exception):
    sqlstate = "42710"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (sqlite3.OperationalError("table sensors already exists"), ConfigurationError),
        (sqlite3.OperationalError("index ix_sensors already exists"), ConfigurationError),
        (sqlite3.IntegrityError("a sensor of this tag already exists"), sa.exc.DBAPIError),
        (_PostgresError('table "sensors" already exists'), sa.exc.DBAPIError),
    ],
    ids=str,
)
def test_only_a_table_that_exists_is_taken_for_another_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    def refuse(*arguments: object) -> None:
        raise sa.exc.DBAPIError("CREATE TABLE sensors", None, error)

    monkeypatch.setattr("alembic.command.upgrade", refuse)
    with sa.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection, pytest.raises(raised):
        migrations.upgrade(connection)


def test_a_write_that_raises_is_undone(database):
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(sa.insert(workers).values(row(1)))
        raise RuntimeError
    assert count(database, workers) == 0


def row(pid):
    return {"process": f"{pid:016x}", "pid": pid, "epoch": 0, "beat_at": datetime.now(UTC)}


def count(database, table):
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_writers_wait_for_each_other(database):
    def work(pid):
        with database.write() as connection:
            connection.execute(sa.insert(workers).values(row(pid)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert count(database, workers) == 40


def test_readers_do_not_wait_for_a_writer(database):
    with database.write() as connection:
        connection.execute(sa.insert(workers).values(row(1)))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(count, database, workers).result(timeout=MAX_WAIT_SECONDS) == 0
    assert count(database, workers) == 1


def test_instants_come_back_in_utc_whatever_zone_they_were_given_in(database):
    when = datetime(2024, 12, 5, 15, 30, 22, 123456, tzinfo=timezone(timedelta(hours=1)))
    with database.write() as connection:
        connection.execute(sa.insert(workers).values(row(1) | {"beat_at": when}))
    with database.read() as connection:
        found = connection.execute(sa.select(workers.c.beat_at)).scalar_one()
    assert found == when
    assert found.tzinfo is UTC


def test_an_instant_without_a_zone_is_a_mistake(database):
    with pytest.raises(sa.exc.StatementError, match="time zone"), database.write() as connection:
        connection.execute(sa.insert(workers).values(row(1) | {"beat_at": datetime(2024, 1, 1)}))


def test_what_is_unique_stays_so_and_the_caller_learns_it(database):
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        connection.execute(sa.insert(workers), [row(1), row(1)])


def test_a_statement_that_is_wrong_names_the_database_not_its_password(database):
    with pytest.raises(StorageFailed, match=database.engine.dialect.name), database.read() as connection:
        connection.execute(sa.text("SELECT nothing FROM nowhere"))


def test_sqlite_is_durable_and_keeps_its_references(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    made.migrate()
    asked = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}
    with made.read() as connection:
        told = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked}
    assert told == asked


def test_a_locked_sqlite_is_not_ready(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    made.migrate()
    started, done = threading.Event(), threading.Event()

    def hold():
        with made.write():
            started.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    started.wait(10)
    try:
        impatient = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
        with impatient.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=50")
            connection.commit()
        with pytest.raises(NotReady, match="locked") as refusal, impatient.write():
            pytest.fail("two wrote at once")
        assert refusal.value.facts["retry_after"] > 0
    finally:
        done.set()
        holder.join()


def test_a_full_disk_is_called_so_and_loses_nothing(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    made.migrate()
    with made.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def fill():
        with made.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")
            connection.commit()
        with pytest.raises(DiskFull, match="Free some space"), made.write() as connection:
            many = [row(pid) | {"error": "x" * 5000} for pid in range(50)]
            connection.execute(sa.insert(workers), many)

    fill()
    assert count(made, workers) == 0


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_a_lasting_failure(tmp_path, content):
    (tmp_path / "test.db").write_bytes(content)
    with pytest.raises(StorageFailed, match=r"test\.db"):
        Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run").migrate()


def test_a_process_killed_in_a_transaction_leaves_nothing_of_it(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
    made.migrate()
    made.close()

    def die_writing():
        with Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run").write() as connection:
            connection.execute(sa.insert(workers).values(row(1)))
            os.kill(os.getpid(), 9)

    assert in_child(die_writing) == -9
    assert count(made, workers) == 0
    with made.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_postgresql_that_does_not_answer_is_not_ready(tmp_path):
    url = "postgresql://somebody:secret@127.0.0.1:1/test"
    with pytest.raises(NotReady) as refusal:
        Database(url, tmp_path / "run").ping()
    assert "secret" not in refusal.value.message


def test_a_connection_that_was_cut_is_made_anew(postgres_url, tmp_path):
    made = Database(postgres_url, tmp_path / "run")
    with made.read() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
    other = Database(postgres_url, tmp_path / "run")
    with other.write() as connection:
        terminate = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid")
        assert connection.execute(terminate, {"pid": pid}).scalar() is True, "there was a connection to cut"
    made.ping()
    with made.read() as connection:
        assert connection.execute(sa.text("SELECT pg_backend_pid()")).scalar() != pid
    made.close()
    other.close()


@pytest.mark.parametrize("url", ["", "nonsense", "oracle-nothing://x", "sqlite+nodriver:///x"])
def test_a_url_that_cannot_be_used_is_a_setting_to_mend(url, tmp_path):
    with pytest.raises(ConfigurationError, match="database URL"):
        Database(url, tmp_path / "run")


def test_importing_the_database_does_not_import_alembic():
    program = "import sys, storage.container; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


def test_secrets_have_no_column():
    assert {column.name for column in api_keys.c} & {"secret", "key", "token"} == set()
