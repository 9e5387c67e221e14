"""Texts become the same numbers whoever computes them, alone or in company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prediction.scoring.features.neighbours import to_unit_vectors
from prediction.scoring.features.text_hashing import (
    MAX_WORDS,
    SKETCH_WIDTH,
    compute_sketches,
    hash_strings,
    hash_words,
    normalize_text,
)

TEXTS = st.lists(st.text(max_size=80), min_size=1, max_size=8)


@given(TEXTS)
def test_a_text_has_one_sketch_whatever_travels_with_it(texts: list[str]) -> None:
    together = compute_sketches(texts)
    alone = np.concatenate([compute_sketches([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)


@given(TEXTS)
def test_a_text_has_the_same_words_whatever_travels_with_it(texts: list[str]) -> None:
    for text, together in zip(texts, hash_words(texts), strict=True):
        np.testing.assert_array_equal(together, hash_words([text])[0])


def test_how_operators_type_does_not_matter() -> None:
    assert normalize_text("  Fuite\tÉLEVÉE   d’huile ") == "fuite elevee d’huile"
    assert (compute_sketches(["FUITE HUILE PALIER"]) == compute_sketches(["fuite  huîle palier"])).all()


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [
        ("fuite d'huile palier pompe", "FUITE HUILE PALIERS POMPE", "défaut éclairage chaudière"),
        ("bearing vibration high", "high vibration of bearing", "oil leak at the gearbox seal"),
    ],
)
def test_similar_texts_have_similar_sketches(one: str, near: str, far: str) -> None:
    a, b, c = to_unit_vectors(compute_sketches([one, near, far]))
    assert a @ a == pytest.approx(1.0, abs=0.02)
    assert a @ b > 0.5
    assert abs(a @ c) < 0.25


def test_blank_texts_and_long_ones() -> None:
    assert compute_sketches([]).shape == (0, SKETCH_WIDTH)
    assert not compute_sketches(["", "   "])[0].any()
    many = " ".join(f"mot{number}" for number in range(300))
    assert len(hash_words([many])[0]) == MAX_WORDS
    assert np.abs(compute_sketches(["x" * 2_000])).max() <= 127


def test_words_are_counted_once_and_never_hashed_to_zero() -> None:
    (words,) = hash_words(["Pompe pompe POMPE, vanne"])
    assert len(words) == 2
    assert (words > 0).all()


def test_string_hashes_tell_strings_apart_and_know_the_blank_one() -> None:
    found = hash_strings(["", "a", "b", "ab", "ba", "a" * 50, "a" * 51])
    assert found[0] == 0
    assert len(set(found.tolist())) == len(found)


def test_texts_beyond_one_batch_are_the_same() -> None:
    texts = [f"fuite vanne {number}" for number in range(2_100)]
    np.testing.assert_array_equal(compute_sketches(texts)[2_050:], compute_sketches(texts[2_050:]))
