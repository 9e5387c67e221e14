"""What is committed happens, whole, whatever dies on the way; what is not committed never happened."""

import errno
import os
import time
from pathlib import Path

import pytest

from errors import ArtefactCorrupt, Conflict, DiskFull, NotReady, StorageFailed
from storage import fault_injection
from storage.filesystem import files
from storage.filesystem.checksummed_json import encode_checksummed
from storage.filesystem.files import stat_signature
from storage.journal import Journal
from storage.journal_steps import Append, JournalEntry, Move, PointerChange, Remove
from storage.models.versions import VersionStore
from tests.storage.conftest import MODEL

DATA = "data/a.csv"
APPEND = Append(DATA, 4, "new\n")


class Home:
    """A home folder with a journal and what its listener was told."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "data").mkdir()
        (folder / DATA).write_bytes(b"old\n")
        self.versions = VersionStore(folder / "models")
        self.told: list[JournalEntry] = []
        self.run_dir = folder / "data" / "run"
        self.journal = Journal(folder, self.run_dir, self.versions, self.told.append)
        self.lock = self.journal.lock

    def staged(self, name="v", **files):
        folder = self.journal.staging(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return folder.relative_to(self.folder).as_posix()

    def commit(self, entry):
        with self.journal.hold_store_lock():
            self.journal.commit(entry)

    @property
    def data(self):
        return (self.folder / DATA).read_bytes()

    @property
    def entry_file(self):
        return self.folder / "data" / "journal" / "entry.json"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def fail_at(monkeypatch):
    """Make one step fail, until ``healed``."""

    def install(step):
        monkeypatch.setattr(fault_injection, "fault_point", fault_injection.fault_point)
        fault_injection.install(f"{step}:raise")

    return install


def test_everything_in_an_entry_happens(home):
    staged = home.staged(**{"b.csv": b"replaced"})
    (home.folder / "data" / "gone.csv").touch()
    moves: list[Move | Remove] = [Move(f"{staged}/b.csv", "data/b.csv"), Remove("data/gone.csv")]
    entry = JournalEntry("train", 5, moves, [APPEND], [PointerChange(MODEL, 3)], True, {"state": "completed"})
    home.commit(entry)
    assert home.data == b"old\nnew\n"
    assert (home.folder / "data" / "b.csv").read_bytes() == b"replaced"
    assert not (home.folder / "data" / "gone.csv").exists()
    assert home.versions.pointer(MODEL) == 3
    assert home.versions.epoch() == 1
    assert [told.result for told in home.told] == [{"state": "completed"}]


def test_nothing_of_it_lies_about_afterwards(home):
    staged = home.staged(**{"b.csv": b"replaced"})
    home.commit(JournalEntry("restore", moves=[Move(f"{staged}/b.csv", "data/b.csv")]))
    assert list((home.folder / "data" / "journal").iterdir()) == []


def test_a_file_may_be_the_first_of_its_folder(home):
    append = Append("data/tenants/acme/a.csv", 0, "first\n")
    home.commit(JournalEntry("train", appends=[append]))
    assert (home.folder / append.path).read_bytes() == b"first\n"


def test_a_folder_that_cannot_be_made_stops_the_commit(home):
    append = Append(f"{DATA}/a.csv", 0, "first\n")
    with pytest.raises(StorageFailed) as refusal:
        home.commit(JournalEntry("train", appends=[append]))
    assert "committed" not in refusal.value.facts
    assert not home.entry_file.exists()


def test_a_folder_takes_the_place_of_the_one_that_is_there(home):
    target = home.folder / "models" / MODEL / "v0001"
    target.mkdir(parents=True)
    (target / "damaged").touch()
    staged = home.staged(**{"whole": b"1"})
    home.commit(JournalEntry("restore", moves=[Move(staged, target.relative_to(home.folder).as_posix())]))
    assert [file.name for file in target.iterdir()] == ["whole"]
    assert [folder.name for folder in target.parent.iterdir()] == ["v0001"]


def test_a_file_that_was_edited_meanwhile_stops_the_commit_before_anything_changes(home):
    (home.folder / DATA).write_bytes(b"old\nby hand\n")
    with pytest.raises(Conflict, match=r"a\.csv was changed by hand"):
        home.commit(JournalEntry("train", 5, (), [APPEND], [PointerChange(MODEL, 3)]))
    assert home.data == b"old\nby hand\n"
    assert home.versions.pointer(MODEL) is None
    assert not home.entry_file.exists()


@pytest.mark.parametrize("edit", [b"old!", b"old\nby hand\n", None], ids=["same size", "longer", "removed"])
def test_a_file_that_would_be_replaced_is_not_if_it_was_edited_meanwhile(home, edit):
    staged, target = home.staged(**{"a.csv": b"made from old"}), home.folder / DATA
    entry = JournalEntry("undo", moves=[Move(f"{staged}/a.csv", DATA, stat_signature(target))])
    time.sleep(0.01)
    target.unlink()
    if edit is not None:
        target.write_bytes(edit)
    with pytest.raises(Conflict, match=r"a\.csv was changed by hand"):
        home.commit(entry)
    assert (target.read_bytes() if target.exists() else None) == edit


def test_a_file_that_is_still_the_one_it_was_made_from_is_replaced(home):
    staged = home.staged(**{"a.csv": b"made from old"})
    as_of = stat_signature(home.folder / DATA)
    home.commit(JournalEntry("undo", moves=[Move(f"{staged}/a.csv", DATA, as_of)]))
    assert home.data == b"made from old"


def test_a_staged_folder_that_has_gone_stops_the_commit(home):
    with pytest.raises(StorageFailed, match="nothing has changed"):
        home.commit(JournalEntry("train", 5, [Move("data/nowhere", "data/b")], [APPEND]))
    assert home.data == b"old\n"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "data/../../outside", "."])
def test_an_entry_never_leaves_home(home, path):
    with pytest.raises(StorageFailed, match="not below"):
        home.commit(JournalEntry("restore", moves=[Remove(path), Move(path, path)]))


def test_a_full_disk_is_noticed_before_the_commit(home, monkeypatch):
    real = os.statvfs(home.folder)
    full = os.statvfs_result([*real[:4], 0, *real[5:]])
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(DiskFull):
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    assert home.data == b"old\n"


def test_a_commit_that_cannot_be_made_durable_did_not_happen(home, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with home.journal.hold_store_lock():
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(StorageFailed) as refusal:
            home.journal.commit(JournalEntry("train", 5, (), [APPEND]))
        monkeypatch.undo()
    assert "committed" not in refusal.value.facts
    home.journal.finish_pending()
    with home.journal.hold_store_lock():
        assert home.data == b"old\n"
        assert home.told == []


APPLYING = ["journal.synced", "apply.moved", "apply.appended", "apply.pointed", "apply.recorded"]


@pytest.mark.parametrize("step", APPLYING)
def test_after_the_commit_an_error_says_so_and_the_next_to_come_finishes(home, step, fail_at, monkeypatch):
    entry = JournalEntry("train", 5, (), [APPEND], [PointerChange(MODEL, 3)], result={"state": "completed"})
    fail_at(step)
    with pytest.raises(StorageFailed, match="committed and will be finished") as refusal:
        home.commit(entry)
    assert refusal.value.facts["committed"] is True
    assert home.entry_file.exists()
    monkeypatch.undo()
    home.journal.finish_pending()
    assert home.data == b"old\nnew\n"
    assert home.versions.pointer(MODEL) == 3
    assert home.told[-1] == JournalEntry(
        "train", 5, [], [APPEND], [PointerChange(MODEL, 3)], result=entry.result
    )
    assert not home.entry_file.exists()


def test_an_error_after_the_commit_is_named_and_not_taken_for_one_of_the_disk(home, monkeypatch):
    def refuse(entry):
        raise KeyError("session_id")

    monkeypatch.setattr(home.journal, "_on_applied", refuse)
    with pytest.raises(StorageFailed, match="committed and will be finished") as refusal:
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    assert refusal.value.message.endswith("as soon as this is solved: KeyError: 'session_id'")


def test_a_disk_that_refuses_the_sync_of_many_moves_is_not_believed(home, monkeypatch):
    """Many moves are synced with their file system at once; its error postpones the rest."""
    staged = home.staged(**{f"{number}.csv": b"new" for number in range(40)})
    moves = [Move(f"{staged}/{n}.csv", f"data/{n}.csv") for n in range(40)]
    with monkeypatch.context() as broken:
        broken.setattr(files, "_sync_file_system", _refused)
        with pytest.raises(StorageFailed) as told:
            home.commit(JournalEntry("restore", 7, moves, result={"state": "completed"}))
    assert told.value.facts["committed"]
    assert (home.told, home.entry_file.exists()) == ([], True)
    home.journal.finish_pending()
    assert [entry.session_id for entry in home.told] == [7]
    assert not home.entry_file.exists()


def _refused(descriptor):
    raise OSError(errno.EIO, "Input/output error")


def test_a_listener_that_fails_is_told_again(home):
    def refuse(entry):
        home.told.append(entry)
        if len(home.told) == 1:
            raise RuntimeError("the database is away")

    home.journal = Journal(home.folder, home.run_dir, home.versions, refuse)
    with pytest.raises(StorageFailed, match="the database is away"):
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    home.journal.finish_pending()
    assert len(home.told) == 2
    assert home.data == b"old\nnew\n"


def test_finishing_twice_changes_nothing_more(home, fail_at, monkeypatch):
    fail_at("apply.recorded")
    with pytest.raises(StorageFailed):
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    monkeypatch.undo()
    left_behind = home.entry_file.read_bytes()
    with home.journal.hold_store_lock():
        assert home.journal.recover() is None  # locked() has finished it
    home.entry_file.write_bytes(left_behind)
    with home.journal.hold_store_lock():
        pass
    assert home.data == b"old\nnew\n"


def test_while_an_unfinished_entry_cannot_be_finished_nobody_gets_further(home, fail_at, monkeypatch):
    fail_at("journal.synced")
    with pytest.raises(StorageFailed):
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    monkeypatch.undo()
    (home.folder / DATA).write_bytes(b"ol")
    with pytest.raises(StorageFailed, match="changed by hand"), home.journal.hold_store_lock():
        pytest.fail("the lock was handed out over an unfinished commit")
    assert not home.lock.is_held()


def test_a_damaged_entry_is_not_applied(home, fail_at, monkeypatch):
    fail_at("journal.synced")
    with pytest.raises(StorageFailed):
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    monkeypatch.undo()
    home.entry_file.write_bytes(home.entry_file.read_bytes().replace(b"new", b"bad"))
    with pytest.raises(ArtefactCorrupt, match=r"entry\.json"), home.journal.hold_store_lock():
        pytest.fail("a damaged entry was trusted")
    assert home.data == b"old\n"


def test_whoever_waits_too_long_is_told_to_come_back(home):
    with (
        home.journal.hold_store_lock(),
        pytest.raises(NotReady) as refusal,
        home.journal.hold_store_lock(timeout_s=0.01),
    ):
        pytest.fail("two held the store lock")
    assert refusal.value.facts["retry_after"] == 5


def test_settling_without_anything_left_behind_does_not_touch_the_lock(home):
    with home.lock:
        home.journal.finish_pending()


def test_nothing_is_touched_before_the_entry_is_durable_and_nothing_forgotten_before_the_rest_is(
    home, monkeypatch
):
    """What a power cut may undo is what no fsync has followed: the order of the calls is the promise."""
    staged = home.staged(**{"b.csv": b"replaced"})
    calls = []

    def noted(name, real):
        def call(*arguments, **options):
            seen = [Path(f"/proc/self/fd/{a}").readlink() if isinstance(a, int) else a for a in arguments[:2]]
            calls.append((name, *(Path(path).name for path in seen)))
            return real(*arguments, **options)

        return call

    for name in ("fsync", "rename", "replace", "unlink"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    moves: list[Move | Remove] = [Move(f"{staged}/b.csv", "data/b.csv")]
    home.commit(JournalEntry("train", 5, moves, [APPEND], [PointerChange(MODEL, 3)]))

    named = next(call for call in calls if call[0] in {"rename", "replace"} and call[2] == "entry.json")
    story = [
        ("fsync", named[1]),
        named,
        ("fsync", "journal"),
        ("rename", "b.csv", "b.csv"),
        ("fsync", "data"),
        ("fsync", "a.csv"),
        next(call for call in calls if call[0] in {"rename", "replace"} and call[2] == "champion.json"),
        ("fsync", "default"),
        ("unlink", "entry.json"),
    ]
    places = [calls.index(story[0])]
    for call in story[1:]:
        places.append(calls.index(call, places[-1] + 1))
    assert places[0] == 0, "the very first change to the disk is the entry itself"


def test_many_processes_commit_one_after_the_other_and_nothing_is_lost(home, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    def commit_five():
        for _ in range(5):
            with home.journal.hold_store_lock():
                size = (home.folder / DATA).stat().st_size
                line = f"{os.getpid()}\n"
                home.journal.commit(JournalEntry("train", 5, (), [Append(DATA, size, line)]))

    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            commit_five()
            os._exit(0)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    lines = home.data.decode().splitlines()
    assert sorted(lines[1:]) == sorted(str(pid) for pid in pids for _ in range(5))


def test_an_unfinished_commit_is_an_issue_until_it_is_finished(home, fail_at, monkeypatch):
    assert home.journal.issue() is None
    with monkeypatch.context():
        fail_at("apply.moved")
        with pytest.raises(StorageFailed):
            home.commit(JournalEntry("train", 5, (), [APPEND]))
    monkeypatch.undo()
    assert "not finished yet" in home.journal.issue()
    home.journal.finish_pending()
    assert home.journal.issue() is None


@pytest.mark.parametrize(
    "content", [b"", b"garbage", encode_checksummed({"format": 2}), encode_checksummed({"moves": 3})]
)
def test_whoever_meets_a_damaged_entry_is_told_what_to_do(home, content):
    home.entry_file.parent.mkdir(parents=True)
    home.entry_file.write_bytes(content)
    assert "Move it away" in home.journal.issue()
    with pytest.raises(ArtefactCorrupt, match="restore the newest one"):
        home.journal.finish_pending()
    with pytest.raises(ArtefactCorrupt, match="restore the newest one"):
        home.commit(JournalEntry("train", 5, (), [APPEND]))
    with home.lock:
        assert home.journal.issue() is None, "somebody is working on it"


def test_no_version_takes_the_place_of_another(home):
    target = f"models/{MODEL}/v0003"
    (home.folder / target).mkdir(parents=True)
    with pytest.raises(Conflict, match="exists already"):
        home.commit(JournalEntry("train", 5, [Move(home.staged(a=b"new"), target)]))
    home.commit(JournalEntry("restore", None, [Move(home.staged(a=b"old"), target)]))
    assert (home.folder / target / "a").read_bytes() == b"old"
