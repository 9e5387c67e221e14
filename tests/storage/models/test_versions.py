"""Versions are immutable folders, known by their manifest; the pointer says which one serves."""

import os
import random

import pytest

from errors import ArtefactCorrupt, NotFound
from storage.filesystem.files import read_regular_file
from storage.models.versions import VersionStore
from tests.storage.conftest import MODEL


@pytest.fixture
def store(tmp_path):
    return VersionStore(tmp_path / "models")


def make_version(store, number=1, path=MODEL, **files):
    """Put a sealed version in its place, as the journal does."""
    staging = store.staging(path, session_id=number)
    for name, content in {"a.json": b"{}", "weights.bin": os.urandom(1000), **files}.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(content)
    store.write_manifest(staging, {"metrics": {"mae": 0.2}})
    staging.rename(store.folder(path, number))
    return store.get(path, number)


def test_numbers_count_up_for_each_model(store):
    assert store.next_number(MODEL) == 1
    make_version(store, 1)
    make_version(store, 2)
    make_version(store, 1, path="plant-2/scoring/default")
    assert store.numbers(MODEL) == [1, 2]
    assert store.next_number(MODEL) == 3
    assert store.paths() == [MODEL, "plant-2/scoring/default"]


def test_a_number_that_was_pointed_at_is_not_given_again(store):
    store.set_champion(MODEL, 7)
    assert store.next_number(MODEL) == 8


def test_folders_have_four_digits_and_no_end_of_them(store):
    assert store.folder(MODEL, 7).name == "v0007"
    store.folder(MODEL, 12345).mkdir(parents=True)
    (store.models_dir / MODEL / "v00099").mkdir()
    assert store.numbers(MODEL) == [12345]


def test_the_manifest_names_size_and_hash_of_every_file(store):
    version = make_version(store, 1, **{"sub/deep.txt": b"x"})
    assert set(version.manifest["files"]) == {"a.json", "weights.bin", "sub/deep.txt"}
    assert version.manifest["files"]["a.json"]["size"] == 2
    assert version.manifest["metrics"] == {"mae": 0.2}
    store.verify(version)


def test_a_fresh_staging_folder_is_empty_each_time(store):
    staging = store.staging(MODEL, 5)
    (staging / "left").touch()
    assert list(store.staging(MODEL, 5).iterdir()) == []
    assert store.numbers(MODEL) == []


def damage(folder, kind):
    weights = folder / "weights.bin"
    match kind:
        case "flipped bit":
            data = bytearray(weights.read_bytes())
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            weights.write_bytes(data)
        case "truncated":
            os.truncate(weights, 500)
        case "missing":
            weights.unlink()
        case "extra file":
            (folder / "extra.pkl").touch()
        case "link":
            weights.rename(folder.parent / "elsewhere")
            weights.symlink_to(folder.parent / "elsewhere")
        case "fifo":
            os.mkfifo(folder / "fifo")
        case "swapped":
            weights.rename(folder / "tmp")
            (folder / "a.json").rename(weights)
            (folder / "tmp").rename(folder / "a.json")


KINDS = ["flipped bit", "truncated", "missing", "extra file", "link", "fifo", "swapped"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_version_does_not_verify(store, kind):
    version = make_version(store)
    damage(version.folder, kind)
    with pytest.raises(ArtefactCorrupt, match="Version 1 of scoring/default is damaged") as refusal:
        store.verify(version)
    assert refusal.value.facts["problems"]


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(b"{}")])
def test_a_version_without_a_manifest_that_can_be_trusted_is_corrupt(store, spoil):
    version = make_version(store)
    spoil(version.folder / "manifest.json")
    with pytest.raises(ArtefactCorrupt):
        store.get(MODEL, 1)
    assert store.list(MODEL) == []


def test_a_version_that_is_not_there_is_not_found(store):
    with pytest.raises(NotFound):
        store.get(MODEL, 1)


def test_the_champion_is_the_version_pointed_at(store):
    assert store.champion(MODEL) is None
    make_version(store, 1)
    make_version(store, 2)
    store.set_champion(MODEL, 2)
    assert store.champion(MODEL).number == store.pointer(MODEL) == 2
    store.set_champion(MODEL, None)
    assert store.champion(MODEL) is None


def test_a_pointer_that_vanishes_while_it_is_read_names_nobody(store, monkeypatch):
    store.set_champion(MODEL, 2)

    def gone(file, limit):
        file.unlink()
        return read_regular_file(file, limit)

    monkeypatch.setattr("storage.models.pointers.read_regular_file", gone)
    assert store.pointer(MODEL) is None


def test_a_moved_pointer_shows_in_one_stat(store):
    store.set_champion(MODEL, 1)
    before = store.pointer_file(MODEL).stat()
    store.set_champion(MODEL, 2)
    after = store.pointer_file(MODEL).stat()
    assert (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    "content", [b"", b"7", b"null", b'{"version": "7"}', b'{"version": -1}', b'{"version": true}']
)
def test_a_pointer_that_names_no_version_is_corrupt(store, content):
    store.set_champion(MODEL, 1)
    store.pointer_file(MODEL).write_bytes(content)
    with pytest.raises(ArtefactCorrupt, match=r"champion\.json"):
        store.pointer(MODEL)


def test_the_epoch_only_rises(store):
    store.models_dir.mkdir()
    assert [store.epoch(), store.raise_epoch(), store.raise_epoch(), store.epoch()] == [0, 1, 2, 2]


def test_files_are_looked_up_in_the_manifest(store):
    make_version(store, 1, **{"sub/deep.txt": b"x"})
    assert store.file(MODEL, 1, "sub/deep.txt").read_bytes() == b"x"
    assert store.file(MODEL, 1, "manifest.json").exists()


@pytest.mark.parametrize(
    "name", ["../v0001/a.json", "/etc/passwd", "sub/../a.json", "", ".", "a.json\0", "A.JSON", "b"]
)
def test_no_other_name_leads_to_a_file(store, name):
    make_version(store)
    with pytest.raises(NotFound):
        store.file(MODEL, 1, name)


def test_a_listed_file_that_became_a_link_is_not_handed_out(store):
    version = make_version(store)
    (version.folder / "a.json").unlink()
    (version.folder / "a.json").symlink_to("/etc/passwd")
    with pytest.raises(ArtefactCorrupt):
        store.file(MODEL, 1, "a.json")


@pytest.mark.parametrize(
    "path", ["../x/y", "default/scoring", "default/scoring/..", "/default/scoring/x", "a/b/c/d", "a/b/c\n"]
)
def test_what_is_no_model_path_is_not_found(store, path):
    for ask in (store.numbers, store.pointer, store.champion, store.next_number):
        with pytest.raises(NotFound):
            ask(path)
