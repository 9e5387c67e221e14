"""One holder at a time, among threads and processes; death frees the lock at once."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from settings import PROJECT
from storage.filesystem import presence
from storage.filesystem.locks import LocksLost, ProcessLock, store_lock, training_lock
from storage.filesystem.process_token import own_token
from tests.storage.conftest import in_child


@pytest.fixture
def lock(tmp_path):
    return ProcessLock(tmp_path / "locks" / "a.lock")


HOLDER = """
import os, sys, time
from pathlib import Path
from storage.filesystem.locks import ProcessLock
assert ProcessLock(Path(sys.argv[1])).acquire(5)
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""


def held_elsewhere(path):
    """Return a process that holds the lock, and the number of a child it forked since."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    holder = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    return holder, int(holder.stdout.readline())


def test_a_second_thread_does_not_get_it(lock):
    assert lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ProcessLock(lock.path).acquire, 0.02).result() is False
    lock.release()
    with ThreadPoolExecutor(1) as pool:
        other = ProcessLock(lock.path)
        assert pool.submit(other.acquire).result() is True
    other.release()


def test_a_second_process_does_not_get_it_and_sees_it_held(lock):
    with lock:
        assert in_child(lambda: os._exit(ProcessLock(lock.path).acquire(0.02))) == 0
        assert in_child(lambda: os._exit(ProcessLock(lock.path).is_held())) == 1
    assert in_child(lambda: os._exit(ProcessLock(lock.path).is_held())) == 0


def test_asking_whether_it_is_held_neither_takes_nor_drops_it(lock):
    assert not lock.is_held()
    with lock:
        assert lock.is_held()
        assert ProcessLock(lock.path).is_held()
        assert in_child(lambda: os._exit(ProcessLock(lock.path).acquire())) == 0
    assert not lock.is_held()


def test_sigkill_frees_it_at_once_also_while_a_child_of_the_owner_lives(lock):
    owner, child = held_elsewhere(lock.path)
    assert lock.is_held()
    owner.kill()
    owner.wait()
    assert lock.acquire(1.0)
    os.kill(child, signal.SIGKILL)
    lock.release()


def test_it_waits_as_long_as_it_is_told(lock):
    holder, child = held_elsewhere(lock.path)
    began = time.monotonic()
    assert not lock.acquire(0.2)
    assert 0.2 <= time.monotonic() - began < 30
    threading.Timer(0.2, holder.kill).start()
    assert lock.acquire(None)
    lock.release()
    holder.wait()
    os.kill(child, signal.SIGKILL)


def test_only_the_owner_lets_go(lock):
    with pytest.raises(RuntimeError, match="not locked"):
        lock.release()


def test_a_folder_that_cannot_be_written_to_is_an_error_not_a_refusal(tmp_path):
    (tmp_path / "locks").write_bytes(b"a file where the folder should be")
    lock = ProcessLock(tmp_path / "locks" / "a.lock")
    with pytest.raises(Exception, match="locks"):
        lock.acquire()
    (tmp_path / "locks").unlink()
    assert lock.acquire()
    lock.release()


def test_each_model_has_its_own_lock(tmp_path):
    with training_lock(tmp_path, "default/scoring/default"), training_lock(tmp_path, "default/rul/default"):
        assert not training_lock(tmp_path, "default/scoring/default").acquire()
        assert store_lock(tmp_path).acquire()
        store_lock(tmp_path).release()


def test_eight_processes_with_threads_never_hold_it_together(tmp_path):
    """Each holder reads a number, waits, writes it back one higher: a second holder would lose a count."""
    counter, lock = tmp_path / "counter", ProcessLock(tmp_path / "a.lock")
    counter.write_text("0")

    def raise_it(_):
        with ProcessLock(lock.path):
            number = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(number + 1))

    def work():
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(raise_it, range(20)))

    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    assert counter.read_text() == "160"


def test_thousands_of_locks_need_few_open_files(tmp_path):
    def take_many():
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # What this process has open already counts, too.
        open_now = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 64, hard))
        locks = [training_lock(tmp_path, f"t/f/{n}") for n in range(3000)]
        assert all(lock.acquire() for lock in locks)
        for lock in locks[::2]:
            lock.release()
        assert [lock.is_held() for lock in locks[:4]] == [False, True, False, True]

    assert in_child(take_many) == 0


def test_where_the_lock_files_are_deleted_nobody_gets_a_lock_that_another_may_hold(lock):
    holder, child = held_elsewhere(lock.path)
    assert not lock.acquire()
    shutil.rmtree(lock.path.parent)
    assert not lock.is_intact()
    assert lock.is_held(), "nobody can know"
    with pytest.raises(LocksLost, match="deleted or replaced"):
        lock.acquire()
    lock.path.parent.mkdir()
    for number in range(16):
        (lock.path.parent / f"{number:02}.lock").touch()
    with pytest.raises(LocksLost, match="restarted"):
        ProcessLock(lock.path.with_name("another")).acquire()
    holder.kill()
    holder.wait()
    os.kill(child, signal.SIGKILL)


def test_folders_that_come_back_as_they_were_are_no_loss(lock):
    with lock:
        moved = lock.path.parent.rename(lock.path.parent.with_name("moved"))
        with pytest.raises(LocksLost):
            ProcessLock(lock.path.with_name("another")).acquire()
        moved.rename(lock.path.parent)
        assert in_child(lambda: os._exit(ProcessLock(lock.path).acquire())) == 0


def test_a_storage_may_be_collected_while_another_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector runs in any thread, also in one that is joining: it must not wait for that."""
    old, new = tmp_path / "old", tmp_path / "new"
    take = ProcessLock.acquire

    def collect_and_take(lock: ProcessLock, *options: float) -> None:
        presence.leave_later(old)
        take(lock, *options)

    presence.join(old)
    with monkeypatch.context() as patched:
        patched.setattr(ProcessLock, "acquire", collect_and_take)
        presence.join(new)
    presence.leave(new)
    command = "import sys; from pathlib import Path; from storage.filesystem import presence as p; "
    command += "print(p.is_alive(Path(sys.argv[1]), sys.argv[2]))"
    told = subprocess.run(
        [sys.executable, "-c", command, str(old), own_token()], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"


def test_a_forked_child_joins_though_a_home_that_was_left_is_gone(tmp_path: Path) -> None:
    old = tmp_path / "old"
    presence.join(old)
    shutil.rmtree(old)
    presence.leave_later(old)
    assert in_child(partial(presence.join, tmp_path / "new")) == 0
