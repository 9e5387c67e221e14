"""Files that should be text in UTF-8 and are not: what they seem to be, in one sentence for all."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_SAVE: Final = "in Excel: save as “CSV UTF-8”"
_KINDS: Final = {
    b"PK\x03\x04": f"is an Excel workbook or another zip, not a text ({_SAVE})",
    b"\xd0\xcf\x11\xe0": f"is an old Excel workbook, not a text ({_SAVE})",
    b"\xff\xfe": f"is UTF-16, not UTF-8 ({_SAVE})",
    b"\xfe\xff": f"is UTF-16, not UTF-8 ({_SAVE})",
}
_MAGIC: Final = 4


def describe_problem(start: bytes) -> str:
    """What is wrong with a file that begins so, as what follows its name in a sentence."""
    return _of_kind(start) or f"is not UTF-8 ({_SAVE})"


def describe_file_problem(file: Path) -> str:
    """The same of a file that could not be decoded."""
    return describe_problem(_start(file))


def describe_non_text(file: Path) -> str:
    """What is wrong with a file that is a workbook or empty; nothing where it may be a text."""
    start = _start(file)
    return _of_kind(start) if start else "is empty"


def _start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAGIC)


def _of_kind(start: bytes) -> str:
    return next((said for magic, said in _KINDS.items() if start.startswith(magic)), "")
