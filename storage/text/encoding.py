"""Encodings of texts: those that are read where a sender names them, and files that should be UTF-8 and are not."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

UTF_8: Final = "utf-8"
ENCODINGS: Final = (UTF_8, "utf-16", "windows-1252", "iso-8859-1")

_ADVICE: Final = "in Excel: save as “CSV UTF-8”"
_SIGNATURES: Final = {
    b"PK\x03\x04": f"is an Excel workbook or another zip, not a text ({_ADVICE})",
    b"\xd0\xcf\x11\xe0": f"is an old Excel workbook, not a text ({_ADVICE})",
    b"\x1f\x8b": "is compressed by gzip: unpack it first",
    b"\xff\xfe": f"is UTF-16, not UTF-8 ({_ADVICE})",
    b"\xfe\xff": f"is UTF-16, not UTF-8 ({_ADVICE})",
}
_SIGNATURE_BYTES: Final = 4


def find_encoding(charset: str) -> str | None:
    """Return which of `ENCODINGS` a name means, such as ``latin1`` or ``CP1252``; None where it means none."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    if name == "ascii":
        return UTF_8
    return next((encoding for encoding in ENCODINGS if codecs.lookup(encoding).name == name), None)


def describe_problem(start: bytes) -> str:
    """Return what is wrong with undecodable content, as the part of a sentence after the file's name."""
    return _match_signature(start) or f"is not UTF-8 ({_ADVICE})"


def describe_file_problem(file: Path) -> str:
    """Return what is wrong with a file that could not be decoded."""
    problem = describe_problem(_read_start(file))
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"{problem}, see line {number}"
    return problem


def describe_non_text(file: Path) -> str:
    """Return what is wrong with a workbook or an empty file; an empty string where it may be text."""
    start = _read_start(file)
    return _match_signature(start) if start else "is empty"


def _read_start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_SIGNATURE_BYTES)


def _match_signature(start: bytes) -> str:
    return next((problem for magic, problem in _SIGNATURES.items() if start.startswith(magic)), "")
