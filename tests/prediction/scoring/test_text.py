"""Texts become the same numbers whoever computes them, alone or in company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prediction.scoring.neighbours import unit_vectors
from prediction.scoring.text import MOST_WORDS, SKETCH_WIDTH, normalised, sketches, string_hashes, word_hashes

TEXTS = st.lists(st.text(max_size=80), min_size=1, max_size=8)


@given(TEXTS)
def test_a_text_has_one_sketch_whatever_travels_with_it(texts: list[str]) -> None:
    together = sketches(texts)
    alone = np.concatenate([sketches([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)


@given(TEXTS)
def test_a_text_has_the_same_words_whatever_travels_with_it(texts: list[str]) -> None:
    for text, together in zip(texts, word_hashes(texts), strict=True):
        np.testing.assert_array_equal(together, word_hashes([text])[0])


def test_how_operators_type_does_not_matter() -> None:
    assert normalised("  Fuite\tÉLEVÉE   d’huile ") == "fuite elevee d’huile"
    assert (sketches(["FUITE HUILE PALIER"]) == sketches(["fuite  huîle palier"])).all()


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [
        ("fuite d'huile palier pompe", "FUITE HUILE PALIERS POMPE", "défaut éclairage chaudière"),
        ("bearing vibration high", "high vibration of bearing", "oil leak at the gearbox seal"),
    ],
)
def test_similar_texts_have_similar_sketches(one: str, near: str, far: str) -> None:
    a, b, c = unit_vectors(sketches([one, near, far]))
    assert a @ a == pytest.approx(1.0, abs=0.02)
    assert a @ b > 0.5
    assert abs(a @ c) < 0.25


def test_blank_texts_and_long_ones() -> None:
    assert sketches([]).shape == (0, SKETCH_WIDTH)
    assert not sketches(["", "   "])[0].any()
    many = " ".join(f"mot{number}" for number in range(300))
    assert len(word_hashes([many])[0]) == MOST_WORDS
    assert np.abs(sketches(["x" * 2_000])).max() <= 127


def test_words_are_counted_once_and_never_hashed_to_zero() -> None:
    (words,) = word_hashes(["Pompe pompe POMPE, vanne"])
    assert len(words) == 2
    assert (words > 0).all()


def test_string_hashes_tell_strings_apart_and_know_the_blank_one() -> None:
    found = string_hashes(["", "a", "b", "ab", "ba", "a" * 50, "a" * 51])
    assert found[0] == 0
    assert len(set(found.tolist())) == len(found)


def test_texts_beyond_one_batch_are_the_same() -> None:
    texts = [f"fuite vanne {number}" for number in range(2_100)]
    np.testing.assert_array_equal(sketches(texts)[2_050:], sketches(texts[2_050:]))
