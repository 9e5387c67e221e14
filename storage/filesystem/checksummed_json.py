"""JSON documents that carry their own sha256: a changed byte anywhere makes them unreadable, not wrong."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from errors import ArtefactCorrupt, StorageFailed
from storage.filesystem.files import read_regular_file

MAX_BYTES = 1 << 30
"""Room for the journal's entry, or the backup, of a fleet of 100,000 models at some kilobytes each."""
_SEAL = "seal"
_LINE = re.compile(rb'\n "seal": "([0-9a-f]{64})"(,?)')


def encode_checksummed(facts: dict[str, Any]) -> bytes:
    """The document's bytes: canonical JSON (sorted keys, no NaN) with its hash under ``seal``.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    TypeError
        Something is not JSON.
    StorageFailed
        It would be too large to be read again.
    """
    plain: dict[str, Any] = json.loads(json.dumps(facts, allow_nan=False))
    plain.pop(_SEAL, None)
    body = _canonical(plain)
    data = _stamped(body, hashlib.sha256(body).hexdigest(), plain)
    if len(data) > MAX_BYTES:
        raise StorageFailed(f"{len(data):,} bytes are too large for one document; nothing was written")
    return data


def decode_checksummed(data: bytes, name: str) -> dict[str, Any]:
    """The document behind the bytes, with its ``seal``.

    Raises
    ------
    ArtefactCorrupt
        The bytes are not exactly those that were written; ``name`` says in the message which document.
    """
    found = _LINE.search(data)
    body = _without(data, found) if found else b""
    seal = found[1].decode() if found else ""
    if hashlib.sha256(body).hexdigest() != seal:
        raise ArtefactCorrupt(f"{name} is damaged: its content does not match its seal")
    facts: dict[str, Any] = json.loads(body)
    if _stamped(body, seal, facts) != data:
        raise ArtefactCorrupt(f"{name} is damaged: its seal is not where it was written")
    return {**facts, _SEAL: seal}


def read_checksummed(path: Path) -> dict[str, Any]:
    """The sealed document in a file.

    Raises
    ------
    ArtefactCorrupt
        It is damaged, too large, or no regular file.
    StorageFailed
        It cannot be read.
    """
    data = read_regular_file(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ArtefactCorrupt(f"{path} is too large to be one of ours")
    return decode_checksummed(data, str(path))


def _canonical(facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    return text.encode("utf-8") + b"\n"


def _stamped(body: bytes, seal: str, facts: dict[str, Any]) -> bytes:
    """The canonical text with the seal's line in its place among the other lines of the outermost object.

    Such a line alone begins with a single space, and no string holds a line break: lines can be told apart
    without reading the document again.
    """
    line = f'\n "{_SEAL}": "{seal}"'.encode()
    following = min((name for name in facts if name > _SEAL), default=None)
    if not facts:
        return b"{" + line + b"\n}\n"
    if following is None:
        return body.removesuffix(b"\n}\n") + b"," + line + b"\n}\n"
    at = body.index(f"\n {json.dumps(following, ensure_ascii=False)}: ".encode())
    return body[:at] + line + b"," + body[at:]


def _without(data: bytes, line: re.Match[bytes]) -> bytes:
    """The text without the seal's line."""
    before, behind = data[: line.start()], data[line.end() :]
    if line[2]:
        return before + behind
    return b"{}\n" if before == b"{" else before.removesuffix(b",") + behind
