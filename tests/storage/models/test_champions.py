"""The index of champions says what the files say, and costs the same however many models there are."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from settings import Settings
from storage.container import open_storage
from storage.journal_steps import JournalEntry, Move, PointerChange
from storage.models.champions import ChampionRecord


@pytest.fixture
def storage(tmp_path):
    storage = open_storage(Settings(home=tmp_path))
    storage.recover()
    yield storage
    storage.close()


def train(storage, *paths, promoted=True, manifest=None):
    """Commit one new version of each model."""
    moves, pointers = [], []
    for path in paths:
        staging = storage.versions.staging(path, 1)
        storage.versions.write_manifest(staging, manifest or {})
        number = storage.versions.next_number(path)
        target = storage.versions.folder(path, number)
        home = storage.settings.home
        moves.append(Move(str(staging.relative_to(home)), str(target.relative_to(home))))
        pointers += [PointerChange(path, number)] if promoted else []
    with storage.journal.hold_store_lock():
        storage.journal.commit(JournalEntry("train", None, moves, (), pointers))


def counts(storage, tenant="default"):
    return {
        count.family: (count.models, count.champions, count.damaged)
        for count in storage.champions.counts(tenant)
    }


def test_a_commit_updates_the_index(storage):
    assert storage.champions.page("default") == []
    train(storage, "default/rul/b", "default/rul/a", "default/damage/fan", "acme/rul/c")
    train(storage, "default/rul/b", promoted=False)
    train(storage, "default/rul/new", promoted=False)
    records = storage.champions.page("default")
    assert [(record.path, record.version) for record in records] == [
        ("default/damage/fan", 1),
        ("default/rul/a", 1),
        ("default/rul/b", 1),
        ("default/rul/new", None),
    ]
    assert records[1].promoted_at > datetime.now(UTC) - timedelta(minutes=5)
    assert records[3].promoted_at is None
    assert counts(storage) == {"damage": (1, 1, 0), "rul": (3, 2, 0)}
    assert storage.champions.names("default", "rul") == ["a", "b"]
    assert storage.champions.tenants() == ["acme", "default"]
    assert storage.champions.is_current()


def test_a_page_begins_behind_the_last_model_of_the_page_before(storage):
    train(storage, *(f"default/{family}/{name}" for family in ("damage", "rul") for name in "abc"))
    names = [record.path for record in storage.champions.page("default", after="damage/b", limit=3)]
    assert names == ["default/damage/c", "default/rul/a", "default/rul/b"]
    assert [record.name for record in storage.champions.page("default", "rul", after="rul/a")] == ["b", "c"]


def test_the_counts_hold_the_oldest_champion(storage):
    train(storage, "default/rul/a")
    train(storage, "default/rul/b")
    first, _ = storage.champions.page("default")
    assert storage.champions.counts("default")[0].oldest_promoted_at == first.promoted_at


def test_a_damaged_pointer_is_counted_until_it_is_repaired(storage):
    train(storage, "default/rul/a", "default/rul/b")
    file = storage.versions.pointer_file("default/rul/a")
    whole = file.read_bytes()
    file.write_bytes(b"{")
    storage.champions.refresh(["default/rul/a"])
    assert "damaged" in storage.champions.page("default")[0].error
    assert counts(storage) == {"rul": (2, 1, 1)}
    assert storage.champions.names("default", "rul") == ["a", "b"]
    file.write_bytes(whole)
    storage.champions.refresh(["default/rul/a"])
    assert counts(storage) == {"rul": (2, 2, 0)}


def test_reported_damage_is_counted_and_taken_back(storage):
    train(storage, "default/rul/a")
    for _ in range(2):
        storage.champions.report_damage("default/rul/a", "weights.npz is missing")
    assert counts(storage) == {"rul": (1, 1, 1)}
    storage.champions.report_damage("default/rul/a", None)
    storage.champions.report_damage("default/rul/unknown", "missing")
    assert counts(storage) == {"rul": (1, 1, 0)}


def test_what_could_not_be_loaded_is_not_mended_by_hashes_that_are_right(storage):
    train(storage, "default/rul/a", "default/rul/b")
    storage.champions.report_damage("default/rul/a", "it cannot be read")
    train(storage, "default/rul/a", promoted=False)
    storage.champions.rebuild()
    assert [record.error for record in storage.champions.page("default")] == ["it cannot be read", None]
    train(storage, "default/rul/b")
    train(storage, "default/rul/a")
    assert [record.error for record in storage.champions.page("default")] == [None, None], (
        "another version serves"
    )


def test_frozen_champions_are_counted_and_the_first_frozen_comes_first(storage):
    train(storage, "default/rul/a", "default/rul/b", "default/rul/c")
    for name, day in (("b", 2), ("a", 3)):
        facts = {"parent": 1, "verdict": {"promoted": False}, "created_at": f"2026-03-0{day}T12:00:00+00:00"}
        train(storage, f"default/rul/{name}", promoted=False, manifest=facts)

    def frozen():
        return [record.name for record in storage.champions.frozen("default", "rul", 5)]

    assert (frozen(), storage.champions.counts("default")[0].frozen) == (["b", "a"], 2)
    with storage.journal.hold_store_lock():
        storage.champions.rebuild()
    assert (frozen(), storage.champions.counts("default")[0].frozen) == (["b", "a"], 2)
    train(storage, "default/rul/b")
    assert (frozen(), storage.champions.counts("default")[0].frozen) == (["a"], 1)


def test_a_model_that_is_gone_leaves_the_index(storage):
    train(storage, "default/rul/a")
    (storage.settings.models_dir / "default/rul/a").rename(storage.settings.home / "elsewhere")
    storage.champions.refresh(["default/rul/a"])
    assert storage.champions.page("default") == storage.champions.counts("default") == []


def test_an_index_that_missed_a_commit_is_rebuilt_by_recovery(storage):
    train(storage, "default/rul/a")
    storage.versions.set_champion("default/rul/b", 4)
    storage.versions.raise_epoch()
    assert not storage.champions.is_current()
    train(storage, "default/rul/c")
    assert not storage.champions.is_current(), "a commit after the missed one must not hide it"
    storage.recover()
    assert [record.version for record in storage.champions.page("default")] == [1, 4, 1]
    assert storage.champions.is_current()


def test_a_new_database_gets_the_index_from_the_files(storage, tmp_path):
    train(storage, "default/rul/a", "acme/damage/b")
    other = open_storage(Settings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/other.db"))
    other.recover()
    assert other.champions.page("acme") == [
        ChampionRecord("acme", "damage", "b", 1, storage.champions.page("acme")[0].promoted_at)
    ]
    other.close()


def test_many_models_in_one_commit_are_all_there(storage):
    paths = [f"default/sensors/{number}-anomaly" for number in range(600)]
    train(storage, *paths)
    train(storage, *paths[:300])
    assert counts(storage) == {"sensors": (600, 600, 0)}
    assert sum(record.version == 2 for record in storage.champions.page("default")) == 300


def test_no_read_walks_all_rows(storage):
    """Every query of a request uses an index or the small table of counts."""
    train(storage, "default/rul/a")
    statements = []

    @sa.event.listens_for(storage.database.engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    storage.champions.page("default", "rul", "rul/a", 10)
    storage.champions.page("default", limit=10)
    storage.champions.counts("default")
    storage.champions.frozen("default", "rul", 10)
    storage.champions.refresh(["default/rul/a"])
    sa.event.remove(storage.database.engine, "before_cursor_execute", note)
    with storage.database.read() as connection:
        plans = [
            row.detail
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert len(plans) >= 4
    walks = [plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan]
    assert [plan for plan in walks if plan != "SCAN CONSTANT ROW"] == []
