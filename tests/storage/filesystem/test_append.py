"""An append may be done twice, or after half of it, and leaves one whole copy behind the old bytes."""

import os

import pytest

from errors import Conflict, DiskFull, StorageFailed
from storage.filesystem.append import append_bytes, check_append
from tests.storage.conftest import in_child

OLD, NEW = b"old line\n", "neue Zeile é\n".encode()


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "a.csv"
    made.write_bytes(OLD)
    return made


def test_the_bytes_follow_the_old_ones(file):
    append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == OLD + NEW


def test_twice_is_once(file):
    append_bytes(file, len(OLD), NEW)
    append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == OLD + NEW


@pytest.mark.parametrize("length", range(len(NEW) + 1))
def test_any_part_of_it_is_completed(file, length):
    file.write_bytes(OLD + NEW[:length])
    append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == OLD + NEW


@pytest.mark.parametrize("length", range(1, len(NEW) + 1))
def test_zeros_that_a_power_cut_left_in_its_place_are_written_over(file, length):
    file.write_bytes(OLD + NEW[:3] + b"\0" * (length - 3) if length > 3 else OLD + b"\0" * length)
    append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == OLD + NEW


def test_a_new_file_is_made(tmp_path):
    append_bytes(tmp_path / "new.csv", 0, NEW)
    assert (tmp_path / "new.csv").read_bytes() == NEW


def test_what_others_appended_behind_it_stays(file):
    file.write_bytes(OLD + NEW + b"by hand\n")
    append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == OLD + NEW + b"by hand\n"


@pytest.mark.parametrize(
    "content", [b"short", OLD + b"by hand\n", OLD + b"by hand, and longer than the new line\n"]
)
def test_a_file_that_somebody_else_changed_is_left_alone(file, content):
    file.write_bytes(content)
    with pytest.raises(StorageFailed, match="changed by hand"):
        append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == content


def test_a_full_disk_leaves_something_that_can_be_completed(file):
    def too_large():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (len(OLD) + 3, len(OLD) + 3))
        with pytest.raises(DiskFull):
            append_bytes(file, len(OLD), NEW)

    assert in_child(too_large) == 0
    assert file.read_bytes().startswith(OLD)
    append_bytes(file, len(OLD), NEW)
    assert file.read_bytes() == OLD + NEW


def test_a_link_is_not_written_through(file, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    with pytest.raises(StorageFailed):
        check_append(link, len(OLD))
    with pytest.raises(StorageFailed):
        append_bytes(link, len(OLD), NEW)
    assert file.read_bytes() == OLD


def test_the_check_notices_another_size(file, tmp_path):
    check_append(file, len(OLD))
    check_append(tmp_path / "absent.csv", 0)
    for path, size in ((file, len(OLD) - 1), (tmp_path / "absent.csv", 5)):
        with pytest.raises(Conflict, match="changed by hand"):
            check_append(path, size)


def test_after_an_fsync_that_failed_the_bytes_are_written_again(file, monkeypatch):
    """Memory may hold what the disk refused: only a new write makes the next fsync mean anything."""
    append_bytes(file, len(OLD), NEW)
    written = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: written.append(data) or real(fd, data, at))
    append_bytes(file, len(OLD), NEW)
    assert b"".join(written) == NEW
