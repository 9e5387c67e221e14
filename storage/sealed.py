"""JSON documents that carry their own sha256: a changed byte anywhere makes them unreadable, not wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from errors import ArtefactCorrupt
from storage.files import read_regular

LARGEST_BYTES = 64 << 20
_SEAL = "seal"


def sealed(facts: dict[str, Any]) -> bytes:
    """The document's bytes: canonical JSON (sorted keys, no NaN) with its hash under ``seal``.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    TypeError
        Something is not JSON.
    """
    plain: dict[str, Any] = json.loads(_canonical({k: v for k, v in facts.items() if k != _SEAL}))
    plain[_SEAL] = _hash(plain)
    return _canonical(plain)


def unsealed(data: bytes, name: str) -> dict[str, Any]:
    """The document behind the bytes, with its ``seal``.

    Raises
    ------
    ArtefactCorrupt
        The bytes are not exactly those that were written; ``name`` says in the message which document.
    """
    try:
        facts = json.loads(data.decode("utf-8"))
        intact = isinstance(facts, dict) and _canonical(facts) == data
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        raise ArtefactCorrupt(f"{name} is damaged: it is not the JSON that was written")
    if facts.get(_SEAL) != _hash({k: v for k, v in facts.items() if k != _SEAL}):
        raise ArtefactCorrupt(f"{name} is damaged: its content does not match its seal")
    found: dict[str, Any] = facts
    return found


def read_sealed(path: Path) -> dict[str, Any]:
    """The sealed document in a file.

    Raises
    ------
    ArtefactCorrupt
        It is damaged, too large, or no regular file.
    StorageFailed
        It cannot be read.
    """
    data = read_regular(path, LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ArtefactCorrupt(f"{path} is too large to be a manifest")
    return unsealed(data, str(path))


def _canonical(facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    return text.encode("utf-8") + b"\n"


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(facts)).hexdigest()
