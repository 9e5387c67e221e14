"""Uploads are read in a child process: what it refuses is raised here, and nothing costs without bound."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from errors import BodyTooLarge, InvalidContent, MalformedBody
from storage.datasets import limited_child
from storage.datasets.columnar import read_rows_in_child
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
    for limit, value in (("MIN_MEMORY_BYTES", 1 << 20), ("MIN_SECONDS", -4.9)):
        with monkeypatch.context() as patch:
            patch.setattr(limited_child, limit, value)
            patch.setattr(limited_child, "MEMORY_PER_BYTE", 1)
            with pytest.raises(InvalidContent, match="more time or memory"):
                store.receive(io.BytesIO(wide), "wide.csv")
    assert list((tmp_path / "datasets" / "default").iterdir()) == []


def _arrow_stream(**columns: pa.Array) -> bytes:
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (pa.array([10**12], pa.timestamp("s")), "out of range"),
        (pa.array([0], pa.timestamp("s", tz="Mars/Olympus")), "Mars/Olympus"),
        (pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")), "utf-8"),
    ],
)
def test_a_cell_that_has_no_value_is_not_called_too_costly(cells: pa.Array, reason: str) -> None:
    with pytest.raises(MalformedBody, match=f"cannot be read as Parquet or Arrow: .*({reason})"):
        read_rows_in_child(_arrow_stream(cells=cells), 10)


def test_a_child_that_fails_is_not_called_too_costly() -> None:
    with pytest.raises(RuntimeError, match=r"No module named storage\.datasets\.nowhere"):
        limited_child.run_limited("storage.datasets.nowhere", {}, 1)


def test_lists_and_objects_are_json_at_every_depth() -> None:
    nested = pa.array(
        [{"at": datetime(2024, 12, 5, tzinfo=UTC), "parts": [12.0, 1.5, None], "sum": Decimal("13.5")}]
    )
    (row,) = read_rows_in_child(_arrow_stream(cells=nested), 10)
    assert row == {"cells": {"at": "2024-12-05T00:00:00+00:00", "parts": [12, 1.5, None], "sum": 13.5}}
