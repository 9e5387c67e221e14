"""What is kept on disk is right or not there: torn, flipped, deleted files cost time, never truth."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from prediction.scoring.data.row_cache import RowCache
from prediction.scoring.model.weights_cache import MAX_ENTRIES, WeightsCache

KIND = np.dtype((np.float32, (4,)))


def rows(keys: np.ndarray) -> np.ndarray:
    return (keys[:, None] * np.arange(1, 5)).astype(np.float32)


@pytest.fixture
def keys() -> np.ndarray:
    return np.arange(1, 11, dtype=np.uint64)


@pytest.fixture
def cache(tmp_path: Path) -> RowCache:
    return RowCache(tmp_path / "deep" / "some.rows", KIND)


def test_only_missing_rows_are_made(cache: RowCache, keys: np.ndarray) -> None:
    cache.complete(keys[:6], lambda missing: rows(keys[missing]))
    made: list[list[int]] = []

    def make(missing: np.ndarray) -> np.ndarray:
        made.append(missing.tolist())
        return rows(keys[missing])

    np.testing.assert_array_equal(cache.complete(keys, make), rows(keys))
    np.testing.assert_array_equal(cache.complete(keys[::-1], make), rows(keys[::-1]))
    assert made == [[6, 7, 8, 9]]


def test_a_torn_tail_is_cut_off(cache: RowCache, keys: np.ndarray, tmp_path: Path) -> None:
    cache.append(keys[:5], rows(keys[:5]))
    path = tmp_path / "deep" / "some.rows"
    os.truncate(path, path.stat().st_size - 7)
    assert cache.read(keys)[1].tolist() == [True] * 4 + [False] * 6
    cache.append(keys[4:], rows(keys[4:]))
    found, known = cache.read(keys)
    assert known.all()
    np.testing.assert_array_equal(found, rows(keys))


@pytest.mark.parametrize("byte", [1, 9, 17, 30])
def test_a_flipped_byte_is_a_missing_row(
    cache: RowCache, keys: np.ndarray, tmp_path: Path, byte: int
) -> None:
    cache.append(keys, rows(keys))
    path = tmp_path / "deep" / "some.rows"
    content = bytearray(path.read_bytes())
    content[3 * 32 + byte] ^= 0x10
    path.write_bytes(content)
    found, known = cache.read(keys)
    assert not known[3]
    assert known.sum() == 9
    np.testing.assert_array_equal(found[known], rows(keys)[known])
    assert not found[3].any()


def test_a_hole_of_zeros_is_no_row(cache: RowCache, tmp_path: Path) -> None:
    cache.append(np.array([1], np.uint64), rows(np.array([1])))
    with (tmp_path / "deep" / "some.rows").open("ab") as file:
        file.write(bytes(64))
    assert cache.read(np.array([0, 1], np.uint64))[1].tolist() == [False, True]


def test_writers_and_readers_at_once(cache: RowCache) -> None:
    parts = [np.arange(start, start + 50, dtype=np.uint64) for start in range(1, 401, 50)]
    torn: list[int] = []

    def write(part: np.ndarray) -> None:
        for key in part:
            cache.append(np.array([key]), rows(np.array([key])))
            found, known = cache.read(part)
            torn.append(int((found[known] != rows(part[known])).sum()))

    threads = [threading.Thread(target=write, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(torn) == 0
    assert cache.read(np.concatenate(parts))[1].all()


def test_a_crowded_file_begins_anew_with_what_was_asked_for(keys: np.ndarray, tmp_path: Path) -> None:
    cache = RowCache[np.void](tmp_path / "some.rows", KIND, max_rows=12)
    for later in range(40):
        asked = keys + np.uint64(later)
        made = cache.complete(asked, lambda missing: rows(asked[missing]))  # noqa: B023
        np.testing.assert_array_equal(made, rows(asked))
        assert cache.read(asked)[1].all()
        assert (tmp_path / "some.rows").stat().st_size <= 12 * 32


def test_a_reader_is_not_disturbed_by_a_file_that_begins_anew(keys: np.ndarray, tmp_path: Path) -> None:
    cache = RowCache[np.void](tmp_path / "some.rows", KIND, max_rows=10)
    cache.append(keys, rows(keys))
    before = cache._map()
    cache.complete(keys[:1] + np.uint64(100), lambda missing: rows(keys[:1] + np.uint64(100)))
    np.testing.assert_array_equal(before["row"], rows(keys))
    assert cache.read(keys)[1].sum() == 0


def test_a_fit_is_made_once_and_again_where_it_is_damaged(tmp_path: Path) -> None:
    store, made = WeightsCache(tmp_path / "fits"), []

    def make() -> np.ndarray:
        made.append(1)
        return np.ones((2, 3), np.float32)

    for _ in range(3):
        np.testing.assert_array_equal(store.get("a", (2, 3), make), np.ones((2, 3)))
    assert len(made) == 1
    path = tmp_path / "fits" / "a.fit"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(store.get("a", (2, 3), make), np.ones((2, 3)))
    assert len(made) == 2


def test_old_fits_are_forgotten(tmp_path: Path) -> None:
    store = WeightsCache(tmp_path)
    for number in range(MAX_ENTRIES + 5):
        store.get(f"fit-{number}", (1,), lambda: np.zeros(1, np.float32))
    assert len(list(tmp_path.glob("*.fit"))) == MAX_ENTRIES


def test_a_fit_in_use_is_not_forgotten(tmp_path: Path) -> None:
    store, made = WeightsCache(tmp_path), []

    def compute_weights() -> np.ndarray:
        made.append("weights")
        return np.ones(1, np.float32)

    for number in range(MAX_ENTRIES + 5):
        store.get("weights", (1,), compute_weights)
        store.get(f"errors-{number}", (1,), lambda: np.zeros(1, np.float32))
    assert made == ["weights"]
