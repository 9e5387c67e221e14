"""A key is shown once, kept as a hash, and refused the moment it is revoked."""

import pytest
import sqlalchemy as sa

from errors import InvalidContent, NotFound
from storage.db.api_keys import ApiKeys, Identity
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
