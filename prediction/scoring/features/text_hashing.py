"""Hash texts to sketches of n-grams and to words: nothing is fitted, so there is no vocabulary to store."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SKETCH_BITS = 9
SKETCH_WIDTH = 1 << SKETCH_BITS
# An int8 sketch holds ``round(value * SKETCH_SCALE)``; values of a unit vector stay below a half.
SKETCH_SCALE = 256.0

CHARACTER_LENGTHS = (2, 3, 4, 5)
MAX_WORD_LENGTH = 40
MAX_WORDS = 64
# Texts hashed together; bounds the memory, a few hundred bytes a character.
TEXT_BATCH_SIZE = 2_000

_ACCENTS = re.compile("[\u0300-\u036f]+")
_WORD = re.compile(r"\w+")
_SPACE = np.uint64(ord(" "))
_FNV_PRIME = np.uint64(0x100000001B3)
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_MURMUR_MIX = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)
_POWERS = np.cumprod(np.r_[np.uint64(1), np.full(MAX_WORD_LENGTH - 1, _FNV_PRIME)])

Hashes = NDArray[np.uint64]


def normalize_text(text: str) -> str:
    """Return the text in lower case, accents removed, white space collapsed."""
    lower = text.lower()
    if not lower.isascii():
        lower = _ACCENTS.sub("", unicodedata.normalize("NFKD", lower))
    return " ".join(lower.split())


def compute_sketches(texts: Sequence[str], width: int = SKETCH_WIDTH) -> NDArray[np.int8]:
    """Return signed random sketches of the texts' n-grams.

    Character n-grams of 2 to 5 within words, words and pairs of words are hashed, weighted by
    ``1 + log(count)`` and added with a hashed sign into one of ``width`` columns, so that the product of two
    sketches estimates the cosine of the two texts (Weinberger et al., "Feature hashing", ICML 2009).

    Returns
    -------
    ndarray of int8, shape (texts, width)
        Unit vectors times ``SKETCH_SCALE``.
    """
    batches = [texts[start : start + TEXT_BATCH_SIZE] for start in range(0, len(texts), TEXT_BATCH_SIZE)]
    parts = [_sketch_batch(batch, width) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.int8)


def hash_words(texts: Sequence[str], salt: str = "") -> list[NDArray[np.uint32]]:
    """Return the distinct words of each text, in order, at most 64: FNV-like hashes of 32 bits, never 0."""
    words = [list(dict.fromkeys(_WORD.findall(normalize_text(text))))[:MAX_WORDS] for text in texts]
    flat = hash_strings([salt + word for text_words in words for word in text_words])
    short = np.maximum(flat >> _HALF, np.uint64(1)).astype(np.uint32)
    ends = np.cumsum([len(text_words) for text_words in words])
    return np.split(short, ends[:-1]) if words else []


def hash_strings(strings: Sequence[str]) -> Hashes:
    """Return one hash of 64 bits a string; that of a blank string is 0."""
    codes, lengths = _code_points(strings)
    starts = np.cumsum(lengths) - lengths
    hashes = _hash_runs(codes, starts, lengths)
    hashes[lengths == 0] = 0
    return hashes


def _sketch_batch(texts: Sequence[str], width: int) -> NDArray[np.int8]:
    codes, lengths = _code_points([f" {normalize_text(text)} " for text in texts])
    document = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    grams = [*_character_grams(codes, document), *_word_grams(codes, document)]
    # Document and hash share one 64-bit key, so that a single sort counts the n-grams of all texts.
    keys = np.concatenate([(owner << _HALF) | (value >> _HALF) for owner, value in grams])
    keys, counts = np.unique(keys, return_counts=True)
    column = (keys >> _HALF) * np.uint64(width) + (keys & np.uint64(width - 1))
    sign = 1.0 - 2.0 * ((keys >> np.uint64(SKETCH_BITS)) & np.uint64(1)).astype(np.float64)
    weights = sign * (1.0 + np.log(counts))
    sums = np.bincount(column.astype(np.int64), weights, minlength=len(texts) * width)
    sums = sums.reshape(len(texts), width)
    norms = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    scaled = sums * (SKETCH_SCALE / np.maximum(norms, 1e-9))
    sketches: NDArray[np.int8] = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    return sketches


def _code_points(strings: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the code points of all strings in one array, and the length of each string."""
    lengths = np.array([len(text) for text in strings], dtype=np.int64)
    codes = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return codes.astype(np.uint64), lengths


def _character_grams(codes: Hashes, document: Hashes) -> Iterable[tuple[Hashes, Hashes]]:
    """Yield (document, hash) of every n-gram within one word, its bounding spaces included."""
    space = codes == _SPACE
    rolling = codes * _GOLDEN_RATIO
    crossing = np.zeros(len(codes), bool)
    for length in CHARACTER_LENGTHS:
        end = len(codes) - length + 1
        if end <= 0:
            return
        rolling = rolling[:end] * _FNV_PRIME + codes[length - 1 :]
        if length == 2:
            inside = ~(space[:-1] & space[1:])
        else:
            crossing = crossing[:end] | space[length - 2 : -1]
            inside = ~crossing
        yield document[:end][inside], _mix(rolling[inside] + np.uint64(7919 * length))


def _word_grams(codes: Hashes, document: Hashes) -> Iterable[tuple[Hashes, Hashes]]:
    """Yield (document, hash) of every word and of every pair of neighbouring words."""
    space = codes == _SPACE
    starts = np.flatnonzero(~space & np.r_[True, space[:-1]])
    ends = np.flatnonzero(~space & np.r_[space[1:], True]) + 1
    words, owner = _hash_runs(codes, starts, ends - starts), document[starts]
    yield owner, _mix(words)
    pair = owner[1:] == owner[:-1]
    yield owner[:-1][pair], _mix(words[:-1] * _FNV_PRIME + words[1:])[pair]


def _hash_runs(codes: Hashes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Hashes:
    """Return polynomial hashes of runs of characters; characters beyond the fortieth do not count."""
    counted = np.minimum(lengths, MAX_WORD_LENGTH)
    first = np.cumsum(counted) - counted
    offset = np.arange(int(counted.sum())) - np.repeat(first, counted)
    powers = _POWERS[np.repeat(counted, counted) - 1 - offset]
    terms = (codes[np.repeat(starts, counted) + offset] + np.uint64(1)) * powers
    hashes, filled = np.zeros(len(starts), np.uint64), counted > 0
    if len(terms):
        hashes[filled] = np.add.reduceat(terms, first[filled])
    return _mix(hashes * _GOLDEN_RATIO + lengths.astype(np.uint64))


def _mix(value: Hashes) -> Hashes:
    """Spread every bit of the input over every bit of the output (the finaliser of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * _MURMUR_MIX
    value = (value ^ (value >> np.uint64(33))) * _GOLDEN_RATIO
    return value ^ (value >> np.uint64(29))
