"""kill -9 at every step and before every change to the disk: data and models are the old or the new state.

A forked child does the work and is killed; then a fresh look recovers and compares with what may be.
"""

import errno
import hashlib
import os
import shutil
import signal
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from settings import Settings
from storage import fault_injection
from storage.anomaly_reports.csv_store import CsvStore
from storage.container import open_storage
from storage.journal import Journal
from storage.journal_steps import JournalEntry, Move, PointerChange
from tests.storage.conftest import KILLED, MODEL, in_child, record, write_plant

CHANGES = ("rename", "replace", "mkdir", "unlink", "rmdir", "remove", "link", "fsync", "pwrite", "ftruncate")
"""What the storage room calls of ``os`` to change the disk; ``open`` for writing is watched beside them."""

STRIDE = 1 if os.environ.get("TEST_EVERY_POINT") else 3
"""A session is killed at every point; the other sweeps take every third one unless told to take them all."""


def opened(home):
    return open_storage(Settings(home=home))


def train(home):
    """Run a session as storage sees it: a backup, a staged version, one commit. Session 2, version 2."""
    storage = opened(home)
    session = storage.sessions.create(tenant="default", family="scoring", name="default", kind="train")
    with storage.journal.hold_store_lock():
        storage.backups.create("before", storage.csv.files(), [MODEL], session.id)
    staging = storage.versions.staging(MODEL, session.id)
    (staging / "weights.bin").write_bytes(b"new weights")
    storage.versions.write_manifest(staging, {"session_id": session.id})
    with storage.journal.hold_store_lock():
        number = storage.versions.next_number(MODEL)
        storage.journal.commit(
            JournalEntry(
                "train",
                session.id,
                moves=[Move(below(home, staging), f"models/{MODEL}/v{number:04d}")],
                appends=storage.csv.plan_append([record(1), record(2)], session.id),
                pointers=[PointerChange(MODEL, number)],
                result={"state": "completed", "version": number},
            )
        )
    storage.close()


def undo(home):
    """Session 1's records are taken out again: all four files are replaced in one commit."""
    storage = opened(home)
    moves = storage.csv.plan_removal(1, storage.journal.staging("undo")).moves
    with storage.journal.hold_store_lock():
        storage.journal.commit(JournalEntry("undo", None, moves))
    storage.close()


def restore(home):
    """Back to the first backup, when there was neither version nor ids file, after a backup of now."""
    storage = opened(home)
    with storage.journal.hold_store_lock():
        name = storage.backups.list()[0].name
        storage.backups.create("before restore", storage.csv.files(), [MODEL])
        owned = {below(home, file) for file in storage.csv.files()}
        back = storage.backups.stage_restore(name, storage.journal.staging("restore"), owned)
        storage.journal.commit(JournalEntry("restore", None, back.moves, (), back.pointers, epoch=True))
    storage.close()


def prune(home):
    """Delete the oldest backup."""
    storage = opened(home)
    with storage.journal.hold_store_lock():
        storage.backups.delete(storage.backups.list()[0].name)
    storage.close()


def below(home, path):
    return path.relative_to(home).as_posix()


@pytest.fixture(autouse=True)
def swift_disk(monkeypatch):
    """Skip fsync: a kill, unlike a power cut, loses nothing that was written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Return a home where one session has been: session 1, version 1, one backup."""
    home = tmp_path_factory.mktemp("plant")
    write_plant(home / "data")
    assert in_child(partial(train, home)) == 0
    return home


@pytest.fixture
def copied(plant):
    """Fresh copies of the plant, in memory where there is such a folder: several hundred are made."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        numbers = count()
        yield lambda: Path(shutil.copytree(plant, Path(folder) / f"home-{next(numbers)}"))


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


def state(storage):
    """All that may never be mixed: data files, champion, versions and how the sessions ended."""
    for version in storage.versions.list(MODEL):
        storage.versions.verify(version)
    return {
        "data": {file.name: digest(file) for file in storage.csv.files()},
        "rows": len(storage.csv.read()),
        "champion": storage.versions.pointer(MODEL),
        "versions": storage.versions.numbers(MODEL),
        "sessions": {s.id: s.state for s in storage.sessions.list("default") if s.has_ended},
    }


def recovered(home, times=1):
    """Open like a server that starts again: the state, and the names of the backups."""
    storage = opened(home)
    found = [looked_at(storage) for _ in range(times)]
    storage.close()
    assert found == found[:1] * times, "recovering twice is recovering once"
    return found[0]


def looked_at(storage):
    with storage.journal.hold_store_lock():
        storage.remove_abandoned()
    backups = storage.backups.list()
    assert all(backup.verified for backup in backups)
    assert len({backup.sequence for backup in backups}) == len(backups)
    home = storage.settings.home
    strays = [path for path in home.rglob(".*") if path.name.startswith((".tmp-", ".trash-", ".staging-"))]
    assert strays == []
    assert not (home / "data" / "journal" / "entry.json").exists()
    return state(storage), [backup.name for backup in backups]


def both_states(copied, work):
    """Return the state before the work and after it, and how many backups there are."""
    home = copied()
    old = recovered(home)
    assert in_child(partial(work, home)) == 0
    return old, recovered(home)


def assert_old_or_new(home, old, new, times=1):
    found, backups = recovered(home, times)
    assert found in (old[0], new[0])
    assert len(old[1]) <= len(backups) <= len(new[1]) or len(new[1]) <= len(backups) <= len(old[1])
    return found


def steps(*parts):
    return [step for step in fault_injection.STEPS if step.split(".")[0] in parts]


STEPS_OF = {
    train: steps("backup", "journal", "apply"),
    restore: steps("backup", "restore", "journal", "apply"),
    undo: steps("journal", "apply"),
}


@pytest.mark.parametrize("work", STEPS_OF, ids=lambda work: work.__name__)
def test_killed_at_any_named_step_it_is_the_old_or_the_new_state(copied, work):
    old, new = both_states(copied, work)
    assert old[0] != new[0]
    for step in STEPS_OF[work]:
        home = copied()

        def killed_work(home=home, step=step):
            fault_injection.install(f"{step}:kill")
            work(home)

        assert in_child(killed_work) == KILLED, step
        found = assert_old_or_new(home, old, new, times=2)
        committed = step.startswith("apply.") or step in {"journal.synced", "journal.cleared"}
        assert found == (new if committed else old)[0], step


def watched(strike, at):
    """Count the changes to the disk this process makes; call ``strike`` before the one numbered ``at``."""
    seen = 0

    def another():
        nonlocal seen
        seen += 1
        if seen == at:
            strike()

    def counted(name, real):
        def call(*arguments, **options):
            another()
            return real(*arguments, **options)

        return call

    for name in CHANGES:
        setattr(os, name, counted(name, getattr(os, name)))
    real_open = os.open

    def open_counted(path, flags, *arguments, **options):
        # Whether the file of a lock is open already depends on the random token of the process.
        if flags & (os.O_WRONLY | os.O_RDWR) and not str(path).endswith(".lock"):
            another()
        return real_open(path, flags, *arguments, **options)

    os.open = open_counted


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("work", [train, restore, undo, prune], ids=lambda work: work.__name__)
def test_killed_before_any_change_to_the_disk_it_is_the_old_or_the_new_state(copied, work):
    old, new = both_states(copied, work)
    seen = []
    for at in count(1, 1 if work is train else STRIDE):
        home = copied()

        def killed_work(home=home, at=at):
            watched(kill_self, at)
            work(home)

        ended = in_child(killed_work)
        seen.append(assert_old_or_new(home, old, new))
        shutil.rmtree(home)
        if ended == 0:
            break
        assert ended == KILLED
    assert at > 5
    assert seen == sorted(seen, key=lambda found: found == new[0]), "once committed, always committed"


def test_any_single_refusal_of_the_disk_leaves_the_old_or_the_new_state(copied):
    """An I/O error and a full disk by turns, at each change to the disk."""
    old, new = both_states(copied, train)
    refused = 0
    for at in count(1, STRIDE):
        home = copied()
        mark = home / "struck"

        def refuse(mark=mark, at=at):
            mark.write_bytes(b"")
            raise OSError(errno.EIO if at % 2 else errno.ENOSPC, "injected")

        def troubled_work(home=home, at=at, refuse=refuse):
            watched(refuse, at)
            train(home)

        ended = in_child(troubled_work)
        assert ended in (0, 1)
        refused += ended
        struck = mark.exists()
        assert_old_or_new(home, old, new)
        shutil.rmtree(home)
        if not struck:
            break
    assert refused > 10


def test_recovery_that_is_itself_killed_before_any_change_is_finished_by_the_next(copied):
    old, new = both_states(copied, train)
    for at in count(1, STRIDE):
        home = copied()

        def die_after_the_commit(home=home):
            fault_injection.install("journal.synced:kill")
            train(home)

        def die_recovering(home=home, at=at):
            watched(kill_self, at)
            recovered(home)

        assert in_child(die_after_the_commit) == KILLED
        ended = in_child(die_recovering)
        assert recovered(home)[0] == new[0]
        shutil.rmtree(home)
        if ended == 0:
            break
    assert at > 10
    assert old != new


def test_without_a_journal_this_very_sweep_finds_mixtures(copied, monkeypatch):
    """The proof that these tests can fail: a commit that applies its entry without having written it down."""
    monkeypatch.setattr(Journal, "_write", lambda journal, entry: None)
    monkeypatch.setattr(Journal, "_clear", lambda journal, entry: None)
    old, new = both_states(copied, train)
    mixed = 0
    for at in count(40, STRIDE):
        home = copied()

        def killed_work(home=home, at=at):
            watched(kill_self, at)
            train(home)

        ended = in_child(killed_work)
        storage = opened(home)
        mixed += state(storage) not in (old[0], new[0])
        storage.close()
        shutil.rmtree(home)
        if ended == 0 or mixed == 4:
            break
    assert mixed == 4


def test_readers_of_the_csv_files_count_whole_batches_at_any_time(copied):
    """A reader without any lock sees the rows of before or of after, once the journal is settled."""
    home = copied()
    before = len(CsvStore(home / "data").read())

    def killed_work():
        fault_injection.install("apply.appended:kill")
        train(home)

    assert in_child(killed_work) == KILLED
    opened(home).journal.finish_pending()
    assert (
        len(CsvStore(home / "data").read()) == before
    )  # corrections of the same two ids: nothing is doubled
