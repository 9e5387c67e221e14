"""A key is shown once, kept as a hash, and refused the moment it is revoked."""

import time
from unittest.mock import Mock

import pytest
import sqlalchemy as sa

from errors import InvalidContent, NotFound, NotReady
from storage.db.api_keys import ApiKeys, Identity
from storage.db.database import Database
from storage.db.tables import api_keys


@pytest.fixture
def keys(database):
    return ApiKeys(database)


def test_the_secret_says_who_asks(keys):
    secret, key = keys.create("train", tenant="plant-2", label="the night shift")
    assert secret.startswith("mw_")
    assert keys.authenticate(secret) == Identity("plant-2", "train", key.id)


def test_the_secret_is_nowhere_in_the_database(keys, database):
    secret, _ = keys.create("admin")
    with database.read() as connection:
        assert secret not in str(connection.execute(sa.select(api_keys)).all())
    assert secret not in repr(keys.list())


def test_a_revoked_key_is_refused_and_still_listed(keys):
    secret, key = keys.create("read")
    assert keys.revoke(key.id).revoked_at is not None
    assert keys.authenticate(secret) is None
    first = keys.list()[0].revoked_at
    keys.revoke(key.id)
    assert keys.list()[0].revoked_at == first


@pytest.mark.parametrize(
    "spoil", [str.upper, lambda s: s[:-1], lambda s: s + "a", lambda s: s[:11] + "A" * 43]
)
def test_nearly_the_secret_is_not_the_secret(keys, spoil):
    secret, _ = keys.create("read")
    assert keys.authenticate(spoil(secret)) is None


@pytest.mark.parametrize("secret", ["", "mw_", "\0", "é" * 50, "\ud800", "x" * 100_000])
def test_no_other_text_is_anybody(keys, secret):
    keys.create("read")
    assert keys.authenticate(secret) is None


def test_roles_are_the_three(keys):
    with pytest.raises(InvalidContent, match="read, train, admin"):
        keys.create("root")


def test_an_unknown_key_cannot_be_revoked(keys):
    with pytest.raises(NotFound):
        keys.revoke(77)


@pytest.fixture
def shared(database, tmp_path):
    """Return the keys as two processes of one home folder see them."""
    return ApiKeys(database, tmp_path / "stamp"), ApiKeys(database, tmp_path / "stamp")


def test_another_process_sees_every_change_at_once(shared):
    mine, other = shared
    assert not other.any_exist()
    for _ in range(20):
        secret, key = mine.create("read")
        assert other.authenticate(secret) == mine.authenticate(secret) == Identity("default", "read", key.id)
        mine.revoke(key.id)
        assert other.authenticate(secret) is None
    assert other.any_exist()


def test_a_known_key_costs_no_query(shared, monkeypatch):
    mine, _ = shared
    secret, _ = mine.create("read")
    mine.authenticate(secret)
    monkeypatch.setattr(Database, "read", lambda self: pytest.fail("the database was read"))
    assert mine.authenticate(secret)
    assert mine.authenticate("mw_nobody") is None


def test_a_key_revoked_on_another_machine_is_refused_after_seconds(database, tmp_path, monkeypatch):
    mine, elsewhere = ApiKeys(database, tmp_path / "a"), ApiKeys(database, tmp_path / "b")
    secret, key = mine.create("read")
    assert mine.authenticate(secret)
    elsewhere.revoke(key.id)
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert mine.authenticate(secret) is None


def test_a_known_key_stays_known_where_the_whole_folder_was_moved_away(database, tmp_path, monkeypatch):
    stamp = tmp_path / "data" / "stamp"
    stamp.parent.mkdir()
    keys = ApiKeys(database, stamp)
    secret, _ = keys.create("read")
    assert keys.authenticate(secret)
    stamp.parent.rename(tmp_path / "moved")
    monkeypatch.setattr(Database, "read", Mock(side_effect=NotReady("The database file was moved")))
    assert keys.authenticate(secret)
    assert keys.authenticate("mw_nobody") is None
