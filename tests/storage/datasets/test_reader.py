"""Uploads are read in a child process: what it refuses is raised here, and nothing costs without bound."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from errors import BodyTooLarge, InvalidContent
from storage.datasets import reader
from storage.datasets.store import DatasetStore
from tests.storage.datasets.test_datasets import HOURLY
from tests.storage.datasets.test_recordings import of_two_classes, zipped


@pytest.fixture
def store(tmp_path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets", max_bytes=8_000_000, in_child=True)


def test_a_table_and_recordings_read_in_a_child_are_those_read_here(store, tmp_path):
    here = DatasetStore(tmp_path / "here", max_bytes=8_000_000)
    for content in (HOURLY.encode(), gzip.compress(HOURLY.encode()), zipped(of_two_classes())):
        ours, theirs = (place.receive(io.BytesIO(content), "x") for place in (here, store))
        own = {"id": "", "created_at": ""}
        assert {**ours.facts, **own} == {**theirs.facts, **own}
    np.testing.assert_array_equal(ours.recordings().values, theirs.recordings().values)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"a,b\n1,2\n3\n", InvalidContent, "line 3 has 1 cells"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * (4 << 20)), BodyTooLarge, "unfolds"),
    ],
)
def test_a_refusal_of_the_child_is_a_refusal_here_and_nothing_is_left(store, tmp_path, content, error, said):
    with pytest.raises(error, match=said):
        store.receive(io.BytesIO(content), "x.csv")
    assert list((tmp_path / "datasets" / "default").iterdir()) == []


def test_reading_that_takes_too_much_memory_or_time_is_stopped(store, tmp_path, monkeypatch):
    wide = b",".join(b"c%d" % n for n in range(900)) + b"\n" + (b"1," * 899 + b"1\n") * 3000
    for limit, value in (("_MIN_MEMORY_BYTES", 1 << 20), ("_MIN_SECONDS", -4.9)):
        with monkeypatch.context() as patch:
            patch.setattr(reader, limit, value)
            patch.setattr(reader, "_MEMORY_PER_BYTE", 1)
            with pytest.raises(InvalidContent, match="more time or memory"):
                store.receive(io.BytesIO(wide), "wide.csv")
    assert list((tmp_path / "datasets" / "default").iterdir()) == []
