"""A home and its database know each other: neither is lost or switched without a word."""

import json
import os
import pwd
import shutil

import pytest
import sqlalchemy as sa

from errors import ConfigurationError
from settings import Settings
from storage.container import open_storage
from storage.db.tables import sessions
from storage.home_folders import HomeChanged
from tests.storage.conftest import record, write_plant

SESSION = {"tenant": "default", "family": "scoring", "name": "default", "kind": "train"}


def opened(home, **settings):
    return open_storage(Settings(home=home, **settings))


def run_sessions(storage, count):
    return [storage.sessions.create(**SESSION).id for _ in range(count)]


def database_files(home):
    return [home / "data" / f"millwright.db{ending}" for ending in ("", "-wal", "-shm")]


@pytest.fixture
def other_url(tmp_path):
    return f"sqlite:///{tmp_path / 'other.db'}"


def test_session_numbers_go_on_after_an_old_copy_of_the_database_is_put_back(tmp_path):
    storage = opened(tmp_path)
    run_sessions(storage, 3)
    storage.close()
    shutil.copy(tmp_path / "data" / "millwright.db", tmp_path / "copy.db")
    storage = opened(tmp_path)
    assert run_sessions(storage, 2) == [4, 5]
    storage.close()
    for file in database_files(tmp_path):
        file.unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy.db", tmp_path / "data" / "millwright.db")
    storage = opened(tmp_path)
    assert run_sessions(storage, 1) == [6]
    storage.close()


def test_session_numbers_go_on_in_a_new_database(tmp_path, other_url):
    storage = opened(tmp_path)
    run_sessions(storage, 3)
    storage.close()
    storage = opened(tmp_path, database_url=other_url)
    assert run_sessions(storage, 1) == [4]
    storage.close()


def test_a_home_of_version_0_1_counts_the_numbers_in_its_files(tmp_path):
    write_plant(tmp_path / "data")
    storage = opened(tmp_path)
    for append in storage.csv.plan_append([record(1)], 41):
        file = tmp_path / append.path
        file.write_text((file.read_text() if file.exists() else "") + append.text)
    staging = storage.versions.staging("default/rul/a", 1)
    storage.versions.write_manifest(staging, {"session_id": 57})
    staging.rename(storage.versions.folder("default/rul/a", 1))
    storage.close()
    (tmp_path / "data" / "home.json").unlink()
    for file in database_files(tmp_path):
        file.unlink(missing_ok=True)
    storage = opened(tmp_path)
    assert run_sessions(storage, 1) == [58]
    storage.close()


def test_every_session_has_an_id_that_no_other_has(tmp_path, other_url):
    here, elsewhere = opened(tmp_path / "a"), opened(tmp_path / "b", database_url=other_url)
    ids = [storage.sessions.create(**SESSION).uid for storage in (here, here, elsewhere)]
    assert len(set(ids)) == 3
    assert here.sessions.get(1).uid == ids[0]
    here.close()
    elsewhere.close()


def test_the_database_of_another_home_is_refused(tmp_path, other_url):
    opened(tmp_path / "a", database_url=other_url).close()
    opened(tmp_path / "b").close()
    with pytest.raises(ConfigurationError, match="belongs to another home folder"):
        opened(tmp_path / "b", database_url=other_url)


def test_a_second_home_on_one_database_is_refused_and_told_how_to_replace_the_first(tmp_path, other_url):
    opened(tmp_path / "a", database_url=other_url).close()
    with pytest.raises(ConfigurationError, match=r"home\.json") as refusal:
        opened(tmp_path / "b", database_url=other_url)
    line = refusal.value.message.partition("write ")[2].partition(" to ")[0]
    (tmp_path / "b" / "data" / "home.json").write_text(line)
    opened(tmp_path / "b", database_url=other_url).close()


def test_a_moved_home_with_its_own_database_is_opened(tmp_path):
    storage = opened(tmp_path / "a")
    run_sessions(storage, 2)
    storage.close()
    (tmp_path / "a").rename(tmp_path / "b")
    storage = opened(tmp_path / "b")
    assert run_sessions(storage, 1) == [3]
    storage.close()


def test_a_home_that_had_keys_is_not_opened_with_a_database_that_has_none(tmp_path, other_url):
    storage = opened(tmp_path)
    storage.keys.create("admin")
    storage.close()
    with pytest.raises(ConfigurationError, match="had API keys"):
        opened(tmp_path, database_url=other_url)
    (tmp_path / "data" / "api_keys.stamp").unlink()
    opened(tmp_path, database_url=other_url).close()


def test_keys_of_version_0_1_are_remembered(tmp_path, other_url):
    storage = opened(tmp_path)
    storage.keys.create("admin")
    storage.close()
    (tmp_path / "data" / "api_keys.stamp").unlink()
    opened(tmp_path).close()
    with pytest.raises(ConfigurationError, match="had API keys"):
        opened(tmp_path, database_url=other_url)


def test_a_damaged_record_is_written_anew(tmp_path):
    storage = opened(tmp_path)
    run_sessions(storage, 2)
    (tmp_path / "data" / "home.json").write_bytes(b"{")
    storage.close()
    storage = opened(tmp_path)
    assert json.loads((tmp_path / "data" / "home.json").read_text())["last_session_id"] == 2
    with storage.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar() == 2
    storage.close()


def test_root_leaves_no_files_in_the_home_of_a_service(tmp_path, monkeypatch):
    opened(tmp_path).close()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    os.chown(tmp_path / "models", 65534, 65534)
    with pytest.raises(ConfigurationError, match="sudo -u"):
        opened(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    opened(tmp_path).close()
    assert pwd.getpwuid(65534).pw_name


def test_a_damaged_record_is_no_loss_of_data(tmp_path):
    opened(tmp_path).close()
    (tmp_path / "data" / "home.json").write_text("torn")
    storage = opened(tmp_path)
    assert storage.folders.losses() == []
    storage.close()


def test_another_process_does_not_let_a_server_go_on_without_its_models(tmp_path):
    server = opened(tmp_path)
    shutil.rmtree(tmp_path / "models")
    opened(tmp_path).close()
    (change,) = server.folders.changes()
    assert "models/" in change
    with pytest.raises(HomeChanged):
        server.folders.check()
    server.close()
