"""What was not written whole is never taken for written."""

import errno
import os
import resource
import signal

import numpy as np
import pytest

from errors import DiskFull, StorageFailed
from storage.filesystem import checked_write
from storage.filesystem.append import append_bytes
from storage.filesystem.checked_write import (
    checked_writer,
    copy_and_hash,
    save_array,
    save_arrays,
    save_json,
    write_atomic,
    write_checked,
    write_json,
)
from storage.filesystem.files import hash_file
from tests.storage.conftest import in_child

VALUES = np.arange(10_000.0).reshape(100, 100)


def test_arrays_come_back_as_they_were(tmp_path):
    for array in (VALUES, VALUES.T, VALUES[::2, ::3], np.array("text"), np.zeros(0), np.float32(3)):
        save_array(tmp_path / "a.npy", array)
        loaded = np.load(tmp_path / "a.npy")
        assert loaded.dtype == np.asarray(array).dtype
        assert np.array_equal(loaded, array)
    save_arrays(tmp_path / "a.npz", one=VALUES, other=np.arange(3))
    with np.load(tmp_path / "a.npz") as loaded:
        assert np.array_equal(loaded["one"], VALUES)
        assert loaded["other"].tolist() == [0, 1, 2]
    assert np.load(tmp_path / "a.npz", mmap_mode="r")["one"][3, 3] == 303


def test_a_file_is_replaced_whole(tmp_path):
    write_checked(tmp_path / "a", b"a longer text")
    write_checked(tmp_path / "a", b"short")
    assert (tmp_path / "a").read_bytes() == b"short"


@pytest.mark.parametrize("limit", [0, 100, 128, 4096, 5000, 79_000, 79_999])
def test_a_file_that_the_system_cuts_short_is_an_error(tmp_path, limit):
    """With ``np.save`` the last buffer is lost without a word, here as on a full disk."""

    def write_with_a_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for write in (
            lambda: save_array(tmp_path / "a.npy", VALUES),
            lambda: save_arrays(tmp_path / "a.npz", values=VALUES),
            lambda: write_checked(tmp_path / "a.f64", VALUES.data),
        ):
            with pytest.raises(DiskFull):
                write()

    assert in_child(write_with_a_limit) == 0


@pytest.mark.parametrize(
    ("call", "write"),
    [("write", lambda path: save_array(path, VALUES)), ("fsync", lambda path: write_atomic(path, b"a"))],
)
def test_each_call_that_is_refused_is_an_error(tmp_path, monkeypatch, call, write):
    real, calls = getattr(os, call), []
    write(tmp_path / "a")  # nothing else of NumPy is written meanwhile
    monkeypatch.setattr(os, call, lambda *arguments: calls.append(call) or real(*arguments))
    write(tmp_path / "a")
    expected = len(calls)
    for number in range(expected):
        arrivals = iter(range(expected))

        def refuse(*arguments, number=number, arrivals=arrivals):
            if next(arrivals) == number:
                raise OSError(errno.EIO, "refused")
            return real(*arguments)

        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(StorageFailed, match="refused"):
            write(tmp_path / "b")
    assert expected > 0


def test_a_disk_that_returns_other_bytes_is_not_believed(tmp_path, monkeypatch):
    def spoil_and_hash(path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        return real(path)

    real = hash_file
    monkeypatch.setattr(checked_write, "hash_file", spoil_and_hash)
    with pytest.raises(StorageFailed, match="other bytes"):
        write_checked(tmp_path / "a", b"content")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_array(path, VALUES),
        lambda path: save_arrays(path, values=VALUES),
        lambda path: save_json(path, {"a": 1}),
        lambda path: write_atomic(path, b"content"),
        lambda path: write_json(path, {"a": 1}, durable=False),
        lambda path: copy_and_hash(path.with_name("source"), path),
        lambda path: append_bytes(path, 0, b"content"),
    ],
)
def test_a_write_that_is_swallowed_is_an_error(tmp_path, monkeypatch, write):
    """The system says that all was written, and the last byte is lost."""
    (tmp_path / "source").write_bytes(b"content")
    real, real_at = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:-1]) + 1)
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real_at(file, data[:-1], at) + 1)
    with pytest.raises(StorageFailed, match="other bytes"):
        write(tmp_path / "a")
    assert not list(tmp_path.glob(".tmp*"))


def test_partial_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:1000]))
    save_array(tmp_path / "a.npy", VALUES)
    monkeypatch.undo()
    assert np.array_equal(np.load(tmp_path / "a.npy"), VALUES)


def test_an_error_of_the_caller_leaves_no_open_file(tmp_path):
    with pytest.raises(RuntimeError), checked_writer(tmp_path / "a") as file:
        raise RuntimeError
    assert file.closed
