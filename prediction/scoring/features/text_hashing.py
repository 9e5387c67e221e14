"""Texts as numbers without a vocabulary: hashed n-grams, computed the same way for training and serving.

Nothing is fitted here, so nothing has to be kept or unpickled: a text has one sketch, whoever computes it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SKETCH_BITS = 9
SKETCH_WIDTH = 1 << SKETCH_BITS
SKETCH_SCALE = 256.0
"""An int8 sketch holds ``round(value * SKETCH_SCALE)``; values of a unit vector stay below a half."""

CHARACTER_LENGTHS = (2, 3, 4, 5)
MAX_WORD_LENGTH = 40
MAX_WORDS = 64
TEXT_BATCH_SIZE = 2_000

_ACCENTS = re.compile("[\u0300-\u036f]+")
_WORD = re.compile(r"\w+")
_SPACE = np.uint64(ord(" "))
_PRIME = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)
_POWERS = np.cumprod(np.r_[np.uint64(1), np.full(MAX_WORD_LENGTH - 1, _PRIME)])

Hashes = NDArray[np.uint64]


def normalize_text(text: str) -> str:
    """Lower case, accents folded, white space collapsed: how operators type does not matter."""
    lower = text.lower()
    if not lower.isascii():
        lower = _ACCENTS.sub("", unicodedata.normalize("NFKD", lower))
    return " ".join(lower.split())


def compute_sketches(texts: Sequence[str], width: int = SKETCH_WIDTH) -> NDArray[np.int8]:
    """Signed random sketches of the texts' n-grams.

    Character n-grams of 2 to 5 within words, words and pairs of words are hashed, weighted by
    ``1 + log(count)`` and added with a hashed sign into one of ``width`` places, so that the product of two
    sketches estimates the cosine of the two texts (Weinberger et al., "Feature hashing", ICML 2009).

    Returns
    -------
    ndarray of int8, shape (texts, width)
        Unit vectors times ``SKETCH_SCALE``.
    """
    parts = [_sketched(texts[i : i + TEXT_BATCH_SIZE], width) for i in range(0, len(texts), TEXT_BATCH_SIZE)]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.int8)


def hash_words(texts: Sequence[str], salt: str = "") -> list[NDArray[np.uint32]]:
    """The distinct words of each text, in order, at most 64: FNV-like hashes of 32 bits, never 0."""
    words = [list(dict.fromkeys(_WORD.findall(normalize_text(text))))[:MAX_WORDS] for text in texts]
    flat = hash_strings([salt + word for of_text in words for word in of_text])
    short = np.maximum(flat >> _HALF, np.uint64(1)).astype(np.uint32)
    return np.split(short, np.cumsum([len(of_text) for of_text in words])[:-1]) if words else []


def hash_strings(strings: Sequence[str]) -> Hashes:
    """One hash of 64 bits a string; the blank string's is 0."""
    codes, lengths = _codes(strings)
    starts = np.cumsum(lengths) - lengths
    found = _run_hashes(codes, starts, lengths)
    found[lengths == 0] = 0
    return found


def _sketched(texts: Sequence[str], width: int) -> NDArray[np.int8]:
    codes, lengths = _codes([f" {normalize_text(text)} " for text in texts])
    document = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    pieces = [*_character_grams(codes, document), *_word_grams(codes, document)]
    keys = np.concatenate([(of << _HALF) | (value >> _HALF) for of, value in pieces])
    keys, counts = np.unique(keys, return_counts=True)
    place = (keys >> _HALF) * np.uint64(width) + (keys & np.uint64(width - 1))
    sign = 1.0 - 2.0 * ((keys >> np.uint64(SKETCH_BITS)) & np.uint64(1)).astype(np.float64)
    summed = np.bincount(
        place.astype(np.int64), sign * (1.0 + np.log(counts)), minlength=len(texts) * width
    ).reshape(len(texts), width)
    norms = np.sqrt((summed * summed).sum(axis=1, keepdims=True))
    scaled = summed * (SKETCH_SCALE / np.maximum(norms, 1e-9))
    found: NDArray[np.int8] = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    return found


def _codes(strings: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """The code points of all strings in one array, and the length of each string."""
    lengths = np.array([len(text) for text in strings], dtype=np.int64)
    codes = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return codes.astype(np.uint64), lengths


def _character_grams(codes: Hashes, document: Hashes) -> Iterable[tuple[Hashes, Hashes]]:
    """(document, hash) of every n-gram that lies within one word, its bounding spaces included."""
    space = codes == _SPACE
    rolling = codes * _GOLDEN
    crossing = np.zeros(len(codes), bool)
    for length in CHARACTER_LENGTHS:
        end = len(codes) - length + 1
        if end <= 0:
            return
        rolling = rolling[:end] * _PRIME + codes[length - 1 :]
        if length == 2:
            inside = ~(space[:-1] & space[1:])
        else:
            crossing = crossing[:end] | space[length - 2 : -1]
            inside = ~crossing
        yield document[:end][inside], _mixed(rolling[inside] + np.uint64(7919 * length))


def _word_grams(codes: Hashes, document: Hashes) -> Iterable[tuple[Hashes, Hashes]]:
    """(document, hash) of every word and of every pair of neighbouring words."""
    space = codes == _SPACE
    starts = np.flatnonzero(~space & np.r_[True, space[:-1]])
    ends = np.flatnonzero(~space & np.r_[space[1:], True]) + 1
    words, of = _run_hashes(codes, starts, ends - starts), document[starts]
    yield of, _mixed(words)
    pair = of[1:] == of[:-1]
    yield of[:-1][pair], _mixed(words[:-1] * _PRIME + words[1:])[pair]


def _run_hashes(codes: Hashes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Hashes:
    """Polynomial hashes of runs of characters; characters beyond the fortieth do not count."""
    counted = np.minimum(lengths, MAX_WORD_LENGTH)
    first = np.cumsum(counted) - counted
    place = np.arange(int(counted.sum())) - np.repeat(first, counted)
    powers = _POWERS[np.repeat(counted, counted) - 1 - place]
    terms = (codes[np.repeat(starts, counted) + place] + np.uint64(1)) * powers
    found, some = np.zeros(len(starts), np.uint64), counted > 0
    if len(terms):
        found[some] = np.add.reduceat(terms, first[some])
    return _mixed(found * _GOLDEN + lengths.astype(np.uint64))


def _mixed(value: Hashes) -> Hashes:
    """Every bit of the input reaches every bit of the output (the finaliser of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * _MIX
    value = (value ^ (value >> np.uint64(33))) * _GOLDEN
    return value ^ (value >> np.uint64(29))
