"""The same request under the same key is done once, also when the worker that did it died."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from storage.db.idempotency import IdempotencyKeyReused, IdempotencyKeys, RequestInProgress, StoredResponse
from storage.db.tables import idempotency
from storage.filesystem import presence
from tests.storage.conftest import in_child

REQUEST = ("default", "POST /train", "0" * 64)


@pytest.fixture
def store(database, tmp_path):
    presence.join(tmp_path / "run")
    yield IdempotencyKeys(database, tmp_path / "run")
    presence.leave(tmp_path / "run")


def test_the_second_request_gets_the_answer_of_the_first(store):
    assert store.begin("k", *REQUEST) is None
    store.finish("k", "default", 200, {"Location": "/x"}, b'{"success": true}')
    assert store.begin("k", *REQUEST) == StoredResponse(200, {"Location": "/x"}, b'{"success": true}')


def test_while_the_first_is_at_work_the_second_is_told_so(store):
    store.begin("k", *REQUEST)
    with pytest.raises(RequestInProgress) as refusal:
        store.begin("k", *REQUEST)
    assert refusal.value.status == 409


@pytest.mark.parametrize(
    "other", [("default", "POST /train", "1" * 64), ("default", "POST /other", "0" * 64)]
)
def test_another_request_under_the_same_key_is_refused(store, other):
    store.begin("k", *REQUEST)
    with pytest.raises(IdempotencyKeyReused) as refusal:
        store.begin("k", *other)
    assert (refusal.value.status, refusal.value.code) == (422, "idempotency_key_reused")


def test_tenants_do_not_share_keys(store):
    assert store.begin("k", *REQUEST) is None
    assert store.begin("k", "other", *REQUEST[1:]) is None


def test_a_request_that_did_nothing_may_be_tried_again(store):
    store.begin("k", *REQUEST)
    store.forget("k", "default")
    assert store.begin("k", *REQUEST) is None


def test_a_dead_workers_request_is_taken_over(store, database):
    def begin_and_die():
        database.engine.dispose(close=False)
        store.begin("k", *REQUEST)
        os._exit(0)

    in_child(begin_and_die)
    assert store.begin("k", *REQUEST) is None
    with pytest.raises(RequestInProgress):
        store.begin("k", *REQUEST)


def test_a_dead_workers_session_is_the_answer(store, database):
    def name_a_session_and_die():
        database.engine.dispose(close=False)
        store.begin("k", *REQUEST)
        store.name_session("k", "default", 5)
        os._exit(0)

    in_child(name_a_session_and_die)
    assert store.begin("k", *REQUEST) == StoredResponse(None, {}, b"", session_id=5)


def test_of_many_at_once_one_does_the_work(store):
    def begin(_):
        try:
            return store.begin("k", *REQUEST)
        except RequestInProgress:
            return "running"

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(begin, range(24)))
    assert told.count(None) == 1
    assert told.count("running") == 23


def test_after_a_day_a_key_is_free_again(store, database):
    store.begin("k", *REQUEST)
    store.finish("k", "default", 200, {}, b"")
    with database.write() as connection:
        old = datetime.now(UTC) - timedelta(hours=24, minutes=1)
        connection.execute(sa.update(idempotency).values(created_at=old))
    assert store.begin("k", "default", "POST /other", "1" * 64) is None
