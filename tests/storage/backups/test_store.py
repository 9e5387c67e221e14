"""A backup is whole or absent, is checked before it is used, and brings data and models back together."""

import errno
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from errors import BackupCorrupt, Conflict, NotFound, StorageFailed
from settings import Settings
from storage.backups.store import BackupStore
from storage.container import open_storage
from storage.filesystem.checksummed_json import encode_checksummed
from storage.filesystem.presence import remove_abandoned
from storage.journal_steps import JournalEntry, Move, PointerChange
from tests.storage.conftest import MODEL, record, write_plant


def promote(storage, number, content=b"weights"):
    """Version ``number`` in place and serving, as a session leaves it."""
    staging = storage.versions.staging(MODEL, number)
    (staging / "weights.bin").write_bytes(content)
    (staging / "options.json").write_bytes(b"{}")
    storage.versions.write_manifest(staging, {"number": number})
    with storage.journal.hold_store_lock():
        moves = [Move(below(storage, staging), f"models/{MODEL}/v{number:04d}")]
        appends = storage.csv.plan_append([record(number)], number)
        storage.journal.commit(JournalEntry("train", None, moves, appends, [PointerChange(MODEL, number)]))


def below(storage, path):
    return path.relative_to(storage.settings.home).as_posix()


def owned(storage):
    return {below(storage, file) for file in storage.csv.files()}


def preview(storage, name):
    return storage.backups.preview_restore(name, owned(storage))


def back_up(storage, reason="test", **options):
    with storage.journal.hold_store_lock():
        return storage.backups.create(reason, storage.csv.files(), [MODEL], **options)


def restore(storage, name):
    with storage.journal.hold_store_lock():
        back = storage.backups.stage_restore(name, storage.journal.staging("restore"), owned(storage))
        storage.journal.commit(JournalEntry("restore", None, back.moves, (), back.pointers))
    return back.changes


def contents(storage):
    data = {file.name: file.read_bytes() for file in storage.csv.files() if file.exists()}
    return data, storage.versions.pointer(MODEL)


@pytest.fixture
def served(storage):
    """Return a plant with one champion."""
    promote(storage, 1)
    return storage


def test_it_holds_data_champion_and_pointer(served):
    backup = back_up(served, "before session 2", session_id=2)
    assert backup.verified
    assert (backup.reason, backup.session_id, backup.pointers) == ("before session 2", 2, {MODEL: 1})
    held = {path for path in backup.manifest["files"] if path.endswith(".csv")}
    assert held == {f"data/{file.name}" for file in served.csv.files() if file.exists()}
    assert backup.size_bytes == sum(facts["size"] for facts in backup.manifest["files"].values())
    served.backups.verify(backup.name)


def test_nothing_in_a_backup_shares_its_bytes_with_a_live_file(served):
    backup = back_up(served)
    version = served.versions.folder(MODEL, 1)
    for file in [*served.csv.files(), *(version / name for name in ("weights.bin", "manifest.json"))]:
        if file.exists():
            assert not file.samefile(backup.folder / below(served, file))
    (version / "weights.bin").write_bytes(b"WEIGHTS 1"[:9])  # in place: a link would change with it
    assert served.backups.verify(backup.name).verified
    assert restore(served, backup.name)
    served.versions.verify(served.versions.champion(MODEL))
    restored = served.versions.folder(MODEL, 1) / "weights.bin"
    assert not restored.samefile(backup.folder / below(served, restored))


def test_backups_share_unchanged_artefacts_with_each_other(served):
    first, second = back_up(served), back_up(served)
    name = f"models/{MODEL}/v0001/weights.bin"
    assert (first.folder / name).samefile(second.folder / name)
    served.backups.delete(first.name)
    assert served.backups.verify(second.name).verified


def test_a_damaged_copy_is_not_shared(served):
    first = back_up(served)
    file = first.folder / "models" / MODEL / "v0001" / "weights.bin"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    second = back_up(served)
    assert served.backups.verify(second.name).verified
    with pytest.raises(BackupCorrupt):
        served.backups.verify(first.name)
    assert [backup.verified for backup in served.backups.list()] == [False, True]


def test_verified_says_when_every_byte_was_read(served):
    backup = back_up(served)
    assert backup.verified_at is not None
    again = served.backups.verify(backup.name)
    assert again.verified_at > backup.verified_at
    other = open_storage(served.settings)
    assert other.backups.get(backup.name).verified_at == again.verified_at
    other.close()


def test_a_flipped_byte_that_left_no_trace_is_found_by_the_next_verification(served):
    backup = back_up(served)
    file = backup.folder / "data" / "fiabilite.csv"
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(BackupCorrupt):
        served.backups.verify(backup.name)
    assert not served.backups.get(backup.name).verified


def test_restoring_brings_data_and_models_back_and_can_itself_be_undone(served):
    first, before = back_up(served), contents(served)
    promote(served, 2)
    second, after = back_up(served), contents(served)
    assert restore(served, first.name)
    assert contents(served) == before
    assert restore(served, second.name)
    assert contents(served) == after
    assert served.versions.numbers(MODEL) == [1, 2]


def test_files_that_did_not_exist_then_are_removed_again(storage):
    empty = back_up(storage)
    own = ("anomaly_ids", "quarantine", "undone_ids", "anomaly_raters")
    assert empty.manifest["absent"] == [f"data/{name}.csv" for name in own]
    before = contents(storage)
    promote(storage, 1)
    restore(storage, empty.name)
    assert contents(storage) == before
    assert storage.versions.pointer(MODEL) is None


def test_a_dry_run_says_what_would_change_and_changes_nothing(served):
    backup = back_up(served)
    assert preview(served, backup.name) == []
    promote(served, 2)
    before = contents(served)
    changes = preview(served, backup.name)
    assert any("disponibilite.csv goes back" in change for change in changes)
    assert f"{MODEL} is served by version 1 again" in changes
    assert contents(served) == before


@pytest.mark.parametrize("lost", ["folder", "file"])
def test_a_version_that_was_lost_since_comes_back_from_the_backup(served, lost):
    backup, version = back_up(served), served.versions.get(MODEL, 1)
    shutil.rmtree(version.folder) if lost == "folder" else (version.folder / "weights.bin").unlink()
    promote(served, 2)
    assert f"models/{MODEL}/v0001 is put back: it is missing or damaged" in restore(served, backup.name)
    served.versions.verify(served.versions.champion(MODEL))


DAMAGED_CHAMPIONS: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a file too short": lambda folder: rewrite(folder / "weights.bin", b"w"),
    "a file lost": lambda folder: (folder / "weights.bin").unlink(),
    "gone": shutil.rmtree,
}


def rewrite(file, content):
    """Return a new file of that name: what the backups hold under theirs stays."""
    file.unlink()
    file.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGED_CHAMPIONS)
def test_a_damaged_champion_stops_neither_the_backup_nor_the_restore_of_an_older_one(served, damage):
    good = back_up(served)
    DAMAGED_CHAMPIONS[damage](served.versions.folder(MODEL, 1))
    backup = back_up(served)
    if damage in ("no manifest", "gone"):
        assert MODEL not in backup.pointers
        assert "damaged and left out" in backup.reason
    else:
        assert backup.pointers == {MODEL: 1}, "the copy in the first backup is whole"
    assert served.backups.verify(backup.name).verified
    restore(served, good.name)
    served.versions.verify(served.versions.champion(MODEL))


@pytest.mark.parametrize("damage", [*DAMAGED_CHAMPIONS, "a flipped byte"])
def test_a_damaged_champion_that_no_backup_holds_is_left_out(served, damage):
    folder = served.versions.folder(MODEL, 1)
    if damage == "a flipped byte":
        rewrite(folder / "weights.bin", bytes(reversed((folder / "weights.bin").read_bytes())))
    else:
        DAMAGED_CHAMPIONS[damage](folder)
    backup = back_up(served)
    assert MODEL not in backup.pointers
    assert "damaged and left out" in backup.reason
    assert served.backups.verify(backup.name).verified


# What may be wrong with a backup


def flip(file):
    data = bytearray(file.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    rewrite(file, data)


def swap(backup):
    one, other = (backup.folder / "data" / name for name in ("disponibilite.csv", "fiabilite.csv"))
    one.rename(backup.folder / "swap")
    other.rename(one)
    (backup.folder / "swap").rename(other)


def link(backup):
    file = backup.folder / "data" / "fiabilite.csv"
    file.rename(backup.folder.parent / "elsewhere")
    file.symlink_to(backup.folder.parent / "elsewhere")


DAMAGES = {
    "a flipped bit in data": lambda backup: flip(backup.folder / "data" / "fiabilite.csv"),
    "a flipped bit in a model": lambda backup: flip(
        backup.folder / "models" / MODEL / "v0001" / "weights.bin"
    ),
    "a flipped bit in the manifest": lambda backup: flip(backup.folder / "manifest.json"),
    "a truncated file": lambda backup: os.truncate(backup.folder / "data" / "fiabilite.csv", 20),
    "an empty file": lambda backup: os.truncate(backup.folder / "data" / "fiabilite.csv", 0),
    "a truncated manifest": lambda backup: os.truncate(backup.folder / "manifest.json", 100),
    "a missing file": lambda backup: (backup.folder / "data" / "fiabilite.csv").unlink(),
    "a missing manifest": lambda backup: (backup.folder / "manifest.json").unlink(),
    "an extra file": lambda backup: (backup.folder / "data" / "extra.csv").touch(),
    "two files swapped": swap,
    "a link": link,
    "a fifo": lambda backup: os.mkfifo(backup.folder / "data" / "fifo"),
    "a folder that is a link": lambda backup: (backup.folder / "more").symlink_to("/etc"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_listed_as_such_and_never_restored(served, damage):
    good, bad = back_up(served), back_up(served)
    DAMAGES[damage](bad)
    before = contents(served)
    with pytest.raises(BackupCorrupt, match=bad.name) as refusal:
        restore(served, bad.name)
    assert refusal.value.facts["problems"]
    for act in (served.backups.verify, partial(preview, served)):
        with pytest.raises(BackupCorrupt):
            act(bad.name)
    assert contents(served) == before
    listed = {backup.name: backup for backup in served.backups.list()}
    assert listed[good.name].verified
    assert not listed[bad.name].verified
    assert listed[bad.name].error


def test_no_single_flipped_bit_is_accepted(served):
    """Every file of the backup, a bit at a time at random places; the manifest at every fifth byte."""
    backup = back_up(served)
    chance = random.Random(1)
    for name in [*backup.manifest["files"], "manifest.json"]:
        file = backup.folder / name
        whole = file.read_bytes()
        file.unlink()
        places = (
            range(0, len(whole), 5) if name == "manifest.json" else chance.choices(range(len(whole)), k=15)
        )
        for place in places:
            spoilt = bytearray(whole)
            spoilt[place] ^= 1 << chance.randrange(8)
            file.write_bytes(spoilt)
            with pytest.raises(BackupCorrupt):
                served.backups.verify(backup.name)
        file.write_bytes(whole)
    assert served.backups.verify(backup.name).verified


def forged(backup, **changes):
    """Return the backup with a manifest that is sealed as if it were ours, yet lies."""
    facts = json.loads((backup.folder / "manifest.json").read_bytes())
    (backup.folder / "manifest.json").write_bytes(encode_checksummed(facts | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../../outside": {"size": 0, "sha256": "0"}}},
        {"files": {"/etc/passwd": {"size": 0, "sha256": "0"}}},
        {"files": {"data/x\0": {"size": 0, "sha256": "0"}}},
        {"absent": ["../.."]},
        {"absent": ["models"]},
        {"absent": ["data/../models/default"]},
        {"pointers": {"../../x/y": 1}},
        {"pointers": {MODEL: "1"}},
        {"pointers": []},
        {"models": ["../../x/y"]},
        {"files": None},
        {"files": {"data/x": {}}},
        {"files": {"data/x": "0"}},
        {"created": "yesterday"},
        {"sequence": "1"},
    ],
    ids=str,
)
def test_a_manifest_that_leads_elsewhere_is_no_manifest_of_a_backup(served, changes):
    backup = back_up(served)
    forged(backup, **changes)
    with pytest.raises(BackupCorrupt):
        served.backups.stage_restore(backup.name, served.journal.staging("restore"), owned(served))
    assert [found.verified for found in served.backups.list()] == [False]


HOSTILE = [
    "..",
    "../backup_20240101_000000",
    "/etc/passwd",
    "backup_20240101_000000/..",
    "backup_20240101_000000\n",
    "backup_20240101_000000\0",
    "backup_２０２４0101_000000",
    "backup_20240101_000000_0",
    "BACKUP_20240101_000000",
    "backup_20240101_000000%2f..",
    "",
    "backup_99990101_000000",
    "x" * 5000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_is_cache_up_and_never_joined(served, name, monkeypatch):
    back_up(served)
    opened = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: opened.append(path) or real(path, *rest, **more)
    )
    for act in (
        served.backups.get,
        served.backups.verify,
        served.backups.delete,
        partial(preview, served),
    ):
        with pytest.raises(NotFound):
            act(name)
    assert opened == []


def test_a_link_with_the_name_of_a_backup_is_none(served, tmp_path):
    backup = back_up(served)
    outside = tmp_path / "outside"
    shutil.copytree(backup.folder, outside)
    (served.backups.backups_dir / "backup_20200101_000000").symlink_to(outside)
    assert [found.name for found in served.backups.list()] == [backup.name]
    with pytest.raises(NotFound):
        served.backups.get("backup_20200101_000000")


def test_a_backup_that_cannot_be_cache_at_does_not_hide_the_others(served, monkeypatch):
    good, bad = back_up(served), back_up(served)
    real = os.scandir

    def scandir(path):
        if Path(path).is_relative_to(bad.folder):
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    again = BackupStore(served.backups.backups_dir, served.settings.home, served.versions)
    monkeypatch.setattr(os, "scandir", scandir)
    found = {backup.name: backup for backup in again.list()}
    assert found[good.name].verified
    assert "Input/output error" in found[bad.name].error


# Names and order


def test_the_name_is_the_instant_in_utc(served):
    when = datetime(2024, 12, 5, 15, 30, 22, tzinfo=UTC) + timedelta(hours=-1)
    store = BackupStore(served.backups.backups_dir, served.settings.home, served.versions, clock=lambda: when)
    names = [store.create("test", [], []).name for _ in range(3)]
    assert names == ["backup_20241205_143022", "backup_20241205_143022_2", "backup_20241205_143022_3"]
    assert store.get(names[1]).created_at == when


def test_a_hundred_backups_within_one_second_are_all_there_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    (tmp_path / "backups").mkdir()
    still = datetime(2024, 12, 5, 14, 30, 22, tzinfo=UTC)
    store = BackupStore(tmp_path / "backups", tmp_path, versions=None, clock=lambda: still)
    made = [store.create(f"number {number}", [], []) for number in range(101)]
    assert len({backup.name for backup in made}) == 101
    assert [backup.reason for backup in store.list()] == [f"number {number}" for number in range(101)]


def test_the_order_is_that_of_making_whatever_the_clock_says(served):
    clock = iter([datetime(2024, 12, day, tzinfo=UTC) for day in (5, 2, 31, 1)])
    store = BackupStore(
        served.backups.backups_dir, served.settings.home, served.versions, clock=lambda: next(clock)
    )
    for number in range(4):
        store.create(str(number), [], [])
    assert [backup.reason for backup in store.list()] == ["0", "1", "2", "3"]


def test_a_sequence_number_is_above_all_others_also_in_another_process(served):
    first = back_up(served)
    other = open_storage(Settings(home=served.settings.home))
    second = back_up(other)
    third = back_up(served)
    other.close()
    assert first.sequence < second.sequence < third.sequence


# Marks and deleting


def test_a_marked_backup_is_not_deleted_until_the_mark_is_taken_off(served):
    backup = back_up(served, retain=True)
    assert served.backups.get(backup.name).retained
    with pytest.raises(Conflict, match=f"retained.*millwright backups unretain {backup.name}"):
        served.backups.delete(backup.name)
    assert not served.backups.set_retained(backup.name, False).retained
    served.backups.delete(backup.name)
    assert served.backups.list() == []
    assert served.versions.verify(served.versions.champion(MODEL)) is None


def test_marks_that_cannot_be_read_count_as_set(served):
    backup = back_up(served)
    (served.backups.backups_dir / "retain.json").write_bytes(b"{")
    assert served.backups.get(backup.name).retained
    served.backups.set_retained(backup.name, False)
    assert not served.backups.get(backup.name).retained


def test_a_backup_that_fails_on_the_way_leaves_nothing(served, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageFailed):
        back_up(served)
    monkeypatch.undo()
    assert [file.name for file in served.backups.backups_dir.iterdir()] == ["home.id"]
    assert remove_abandoned(served.backups.backups_dir, served.settings.run_dir) == 0


def refuse(_):
    raise OSError(5, "Input/output error")


def test_a_backup_waits_for_the_disk_no_more_often_than_it_has_files_and_folders(served, monkeypatch):
    """Every copy, the manifest and the folders are synced; what an earlier backup holds is linked."""
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    backup = back_up(served)
    copies = len(backup.manifest["files"])
    folders = sum(path.is_dir() for path in backup.folder.rglob("*"))
    assert len(waits) == copies + 1 + folders + 2  # the manifest; the backup and the folder it is in
    waits.clear()
    again = back_up(served)
    copies = sum(name.startswith("data/") for name in again.manifest["files"])
    assert len(waits) == copies + 1 + folders + 2


def test_listing_reads_no_file_that_is_as_it_was_sealed(home):
    write_plant(home / "data")
    storage = open_storage(Settings(home=home))
    backups = [back_up(storage) for _ in range(3)]
    again = BackupStore(storage.backups.backups_dir, home, storage.versions)
    opened = []
    real = os.open
    try:
        os.open = lambda path, *rest, **more: opened.append(str(path)) or real(path, *rest, **more)
        assert all(backup.verified for backup in again.list())
    finally:
        os.open = real
    assert [path for path in opened if not path.endswith(".json")] == []
    assert [backup.name for backup in again.list()] == [backup.name for backup in backups]
    storage.close()


def test_nothing_is_remembered_of_a_backup_that_is_gone(served):
    kept, gone = back_up(served), back_up(served)
    served.backups.list()
    served.backups.delete(gone.name)
    served.backups.list()
    assert set(served.backups._cache) == {kept.name}


CRAFTED = {
    "the database": {"data/millwright.db": "files"},
    "another tenant's reports": {"data/tenants/acme/disponibilite.csv": "files"},
    "another tenant's reports, removed": {"data/tenants/acme/disponibilite.csv": "absent"},
    "the journal": {"data/journal/entry.json": "files"},
    "the keys' stamp": {"data/api_keys.stamp": "files"},
    "a dataset": {"data/datasets/default/ds-1/values.npy": "files"},
    "another model": {"models/default/rul/default/v0001/model.onnx": "files"},
    "another tenant's model": {"models/acme/scoring/default/v0001/weights.bin": "files"},
    "another version": {f"models/{MODEL}/v0002/weights.bin": "files"},
    "a pointer": {f"models/{MODEL}/champion.json": "files"},
    "the epoch": {"models/epoch.json": "files"},
    "a model, removed": {f"models/{MODEL}/v0001/weights.bin": "absent"},
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_backup_writes_only_what_its_models_own(served, crafted):
    """The seal can be computed by anybody: what a manifest names is no permission."""
    backup = back_up(served)
    manifest = json.loads((backup.folder / "manifest.json").read_bytes())
    for name, kind in CRAFTED[crafted].items():
        file = backup.folder / name
        if kind == "absent":
            manifest["absent"].append(name)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"crafted")
        manifest["files"][name] = {"size": 7, "sha256": hashlib.sha256(b"crafted").hexdigest()}
    (backup.folder / "manifest.json").write_bytes(encode_checksummed(manifest))
    before = contents(served)
    with pytest.raises(BackupCorrupt):
        restore(served, backup.name)
    assert contents(served) == before
