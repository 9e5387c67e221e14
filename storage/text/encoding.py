"""Describe files that should be UTF-8 text and are not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ADVICE: Final = "in Excel: save as “CSV UTF-8”"
_SIGNATURES: Final = {
    b"PK\x03\x04": f"is an Excel workbook or another zip, not a text ({_ADVICE})",
    b"\xd0\xcf\x11\xe0": f"is an old Excel workbook, not a text ({_ADVICE})",
    b"\xff\xfe": f"is UTF-16, not UTF-8 ({_ADVICE})",
    b"\xfe\xff": f"is UTF-16, not UTF-8 ({_ADVICE})",
}
_SIGNATURE_BYTES: Final = 4


def describe_problem(start: bytes) -> str:
    """Return what is wrong with undecodable content, as the part of a sentence after the file's name."""
    return _match_signature(start) or f"is not UTF-8 ({_ADVICE})"


def describe_file_problem(file: Path) -> str:
    """Return what is wrong with a file that could not be decoded."""
    return describe_problem(_read_start(file))


def describe_non_text(file: Path) -> str:
    """Return what is wrong with a workbook or an empty file; an empty string where it may be text."""
    start = _read_start(file)
    return _match_signature(start) if start else "is empty"


def _read_start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_SIGNATURE_BYTES)


def _match_signature(start: bytes) -> str:
    return next((problem for magic, problem in _SIGNATURES.items() if start.startswith(magic)), "")
