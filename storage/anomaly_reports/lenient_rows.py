"""The identity of a stored row: exact, and as a spreadsheet leaves it after saving the file."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)
_ISO_MINUTE: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d).*)?", re.ASCII)
_SEPARATOR: Final = "/"


def hash_row(cells: Sequence[str]) -> str:
    """Return the identity of a stored row: the hash of its cells (which hold no NUL) and three scores."""
    return hashlib.sha256("\0".join(cells).encode("utf-8")).hexdigest()


def normalize_cell(text: str) -> str:
    """Return a cell without what a spreadsheet changes: seconds, number formats, runs of white space."""
    text = " ".join(text.split())
    if match := _ISO_MINUTE.fullmatch(text):
        return f"{match[1]} {match[2] or '00:00'}"
    if _NUMBER.fullmatch(text):
        # Excel drops leading zeros and a fraction of zero.
        return format(Decimal(text.replace(",", ".")).normalize(), "f")
    return text


def hash_both(cells: Sequence[str]) -> str:
    """Return the exact hash and the lenient one in one text, as the ids file stores them."""
    # One cell, because a column cannot be added to the ids files of earlier versions by an append.
    return hash_row(cells) + _SEPARATOR + hash_leniently(cells)


def hash_leniently(cells: Sequence[str]) -> str:
    """Return the hash of what a spreadsheet leaves of the cells."""
    return hash_row([normalize_cell(cell) for cell in cells])


def has_lenient_hash(stored: str) -> bool:
    """Return whether a row of the ids file was written after version 0.1, or upgraded."""
    return _SEPARATOR in stored


def add_lenient_hash(stored: str, lenient: str) -> str:
    """Return a row of version 0.1 as it is stored now; an empty lenient hash is never met again."""
    return stored if has_lenient_hash(stored) else stored + _SEPARATOR + lenient


def match_ids(rows: Sequence[Sequence[str]], stored: Sequence[str]) -> list[int | None]:
    """Return which row of the ids file names each row: exact matches first, then lenient ones.

    Parameters
    ----------
    stored : sequence of str
        What `hash_both` returned, or the exact hash alone in files of version 0.1.
    """
    id_rows: list[int | None] = [None] * len(rows)
    exact = [text.partition(_SEPARATOR)[0] for text in stored]
    _match(id_rows, {row: hash_row(cells) for row, cells in enumerate(rows)}, dict(enumerate(exact)))
    matched = {number for number in id_rows if number is not None}
    lenient = {
        number: text.partition(_SEPARATOR)[2]
        for number, text in enumerate(stored)
        if number not in matched and _SEPARATOR in text
    }
    if lenient:
        hashes = {row: hash_leniently(cells) for row, cells in enumerate(rows) if id_rows[row] is None}
        _match(id_rows, hashes, lenient)
    return id_rows


def _match(id_rows: list[int | None], hashes: Mapping[int, str], stored: Mapping[int, str]) -> None:
    """Fill in the ids of rows, the k-th last of equal rows with the k-th last of equal ids."""
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for number, sha256 in stored.items():
        waiting[sha256].append(number)
    # From the end, because Millwright appends behind what the plant had: of equal rows the last are its own.
    for row in sorted(hashes, reverse=True):
        if numbers := waiting.get(hashes[row]):
            id_rows[row] = numbers.pop()


def merge_saved_rows(rows: Sequence[Sequence[str]], files: Sequence[Collection[str]]) -> list[int]:
    """Return for each row the first row that is the same report in another file.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells of rows that not every file holds.
    files : sequence of collection of str
        The files that hold each of them.
    """
    groups: defaultdict[tuple[str, ...], list[tuple[int, set[str]]]] = defaultdict(list)
    first: list[int] = []
    for number, (cells, names) in enumerate(zip(rows, files, strict=True)):
        same = groups[tuple(map(normalize_cell, cells))]
        for row, present in same:
            if present.isdisjoint(names):
                present.update(names)
                first.append(row)
                break
        else:
            same.append((number, set(names)))
            first.append(number)
    return first
