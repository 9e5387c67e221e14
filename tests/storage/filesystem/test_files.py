"""Files are whole or absent, and nothing but regular files is ever opened."""

import errno
import os
import resource
import shutil
import socket
import subprocess
import sys

import pytest

from errors import ArtefactCorrupt, DiskFull, StorageFailed
from settings import PROJECT
from storage.filesystem import checked_write, files, presence
from tests.storage.conftest import in_child


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_an_atomic_write_replaces_the_content_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"old")
    checked_write.write_atomic(file, b"new")
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_an_atomic_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"old")

    def too_large():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(DiskFull, match="Free some space"):
            checked_write.write_atomic(file, b"x" * 5000)

    assert in_child(too_large) == 0
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_a_file_system_is_synced_once_and_what_it_refuses_is_raised(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="Bad file descriptor"):
        files._sync_file_system(-1)
    (tmp_path / "b").mkdir()
    real, asked = files._sync_file_system, []
    monkeypatch.setattr(files, "_sync_file_system", lambda at: (asked.append(at), real(at)))
    files.sync_file_systems([tmp_path, tmp_path / "b"])
    assert len(asked) == 1
    with pytest.raises(StorageFailed, match="nowhere"):
        files.sync_file_systems([tmp_path / "nowhere"])


def test_an_fsync_that_fails_is_not_tried_again(tmp_path, monkeypatch):
    calls = []

    def broken(descriptor):
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageFailed, match=r"a\.json"):
        checked_write.write_atomic(tmp_path / "a.json", b"new")
    assert len(calls) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_full_disk_is_called_so(code):
    with pytest.raises(DiskFull, match="some/file"), files.storage_errors("some/file"):
        raise OSError(code, os.strerror(code))


def test_other_refusals_name_the_file():
    with (
        pytest.raises(StorageFailed, match=r"some/file: Permission denied"),
        files.storage_errors("some/file"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_copy_tells_size_and_hash_of_what_was_copied(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(3_000_000))
    assert checked_write.copy_and_hash(source, target) == files.hash_file(source) == files.hash_file(target)


def test_a_copy_never_overwrites(tmp_path):
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(StorageFailed):
        checked_write.copy_and_hash(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"old"


def test_where_nothing_can_be_linked_it_is_copied(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"content")

    def refused(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    checked_write.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    assert not (tmp_path / "a").samefile(tmp_path / "b")


def test_regular_files_lists_everything_by_relative_name(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").touch()
    (tmp_path / "a").touch()
    assert files.list_regular_files(tmp_path) == ["a", "sub/b"]


def odd_things(folder):
    """One of each kind of thing that is neither file nor folder."""
    (folder / "real").write_bytes(b"secret")
    (folder / "link").symlink_to(folder / "real")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "folder_link").symlink_to(folder)
    os.mkfifo(folder / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket"))
    server.close()
    return ["link", "dangling", "folder_link", "fifo", "socket"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["link", "dangling", "folder_link", "fifo", "socket"])
def test_whatever_is_no_regular_file_is_refused_without_waiting(tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir()
    odd_things(source)
    taken = tmp_path / "taken"
    taken.mkdir()
    (source / kind).rename(taken / kind)
    for look in (files.list_regular_files, files.sync_tree):
        with pytest.raises(ArtefactCorrupt):
            look(taken)
    for read in (files.read_regular_file, files.hash_file):
        with pytest.raises(ArtefactCorrupt):
            read(taken / kind)


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ArtefactCorrupt):
        files.list_regular_files(tmp_path / "link")


def test_remove_tree_takes_folders_files_and_links_but_not_what_they_point_at(tmp_path):
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "file").touch()
    for name in ("folder", "file", "absent"):
        files.remove_tree(tmp_path / name)
    assert names(tmp_path) == ["kept"]


def test_what_a_dead_process_was_making_is_swept_and_what_a_living_one_makes_is_not(tmp_path):
    def die_in_the_middle():
        files.temporary_path(tmp_path).write_bytes(b"half")
        files.temporary_path(tmp_path, "staging", "7").mkdir()
        files.temporary_path(tmp_path, "trash").mkdir()

    run_dir = tmp_path / "run"
    presence.join(run_dir)
    in_child(die_in_the_middle)
    mine = files.temporary_path(tmp_path)
    mine.write_bytes(b"half")
    (tmp_path / "v0001").mkdir()
    (tmp_path / ".tmp-of-somebody-else").touch()
    (tmp_path / ".tmp-4711-99-of-version-0.1").touch()
    assert presence.remove_abandoned(tmp_path, run_dir) == 4
    assert names(tmp_path) == sorted([mine.name, "run", "v0001", ".tmp-of-somebody-else"])
    presence.leave(run_dir)


def test_what_a_process_of_another_container_makes_is_not_swept(tmp_path):
    """Its number is unknown here, or that of another process; its lock is seen all the same."""
    code = (
        "import sys; from pathlib import Path; from storage.filesystem import files, presence\n"
        "home = Path(sys.argv[1]); presence.join(home / 'run'); files.temporary_path(home, 'staging').mkdir()\n"
        "print('made', flush=True); sys.stdin.read()"
    )
    command = ["unshare", "--pid", "--fork", "--kill-child"] if can_unshare() else []
    command += [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"made\n"
    assert presence.remove_abandoned(tmp_path, tmp_path / "run") == 0
    other.stdin.close()
    other.wait()
    assert presence.remove_abandoned(tmp_path, tmp_path / "run") == 1


def can_unshare():
    """Whether this user may start processes in a PID namespace of their own."""
    command = ["unshare", "--pid", "--fork", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, check=False).returncode == 0
