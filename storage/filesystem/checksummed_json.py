"""JSON documents that hold their own sha256 under ``seal``: a changed byte makes them unreadable, not wrong."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errors import ArtefactCorrupt, StorageFailed
from storage.filesystem.files import read_regular_file

Document = dict[str, Any]

# Room for the journal entry, or the backup, of 100,000 models at some kilobytes each.
MAX_BYTES = 1 << 30
_SEAL = "seal"
_SEAL_LINE = re.compile(rb'\n "seal": "([0-9a-f]{64})"(,?)')


def encode_checksummed(document: Mapping[str, object]) -> bytes:
    """Return canonical JSON (sorted keys, no NaN) with its hash under ``seal``.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    TypeError
        A value is not JSON.
    StorageFailed
        The document would be too large to be read again.
    """
    plain: Document = json.loads(json.dumps(document, allow_nan=False))
    plain.pop(_SEAL, None)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    body = text.encode("utf-8") + b"\n"
    data = _insert_seal(body, hashlib.sha256(body).hexdigest(), plain)
    if len(data) > MAX_BYTES:
        raise StorageFailed(f"{len(data):,} bytes are too large for one document; nothing was written")
    return data


def decode_checksummed(data: bytes, name: str) -> Document:
    """Return the document with its ``seal``.

    Parameters
    ----------
    name : str
        The document's name in error messages.

    Raises
    ------
    ArtefactCorrupt
        The bytes are not exactly those that were written.
    """
    line = _SEAL_LINE.search(data)
    body = _remove_seal(data, line) if line else b""
    seal = line[1].decode() if line else ""
    if hashlib.sha256(body).hexdigest() != seal:
        raise ArtefactCorrupt(f"{name} is damaged: its content does not match its seal")
    document: Document = json.loads(body)
    if _insert_seal(body, seal, document) != data:
        raise ArtefactCorrupt(f"{name} is damaged: its seal is not where it was written")
    return {**document, _SEAL: seal}


def read_checksummed(path: Path) -> Document:
    """Read the document in a file.

    Raises
    ------
    ArtefactCorrupt
        It is damaged, too large, or not a regular file.
    StorageFailed
        It cannot be read.
    """
    data = read_regular_file(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ArtefactCorrupt(f"{path} is too large for a document of Millwright")
    return decode_checksummed(data, str(path))


def _insert_seal(body: bytes, seal: str, document: Document) -> bytes:
    """Insert the seal's line at its sorted place among the keys of the outermost object.

    Only such lines begin with a single space, and no string holds a line break. So the line can be found and
    removed without parsing the document, which keeps reading a large one cheap.
    """
    line = f'\n "{_SEAL}": "{seal}"'.encode()
    if not document:
        return b"{" + line + b"\n}\n"
    next_key = min((name for name in document if name > _SEAL), default=None)
    if next_key is None:
        return body.removesuffix(b"\n}\n") + b"," + line + b"\n}\n"
    at = body.index(f"\n {json.dumps(next_key, ensure_ascii=False)}: ".encode())
    return body[:at] + line + b"," + body[at:]


def _remove_seal(data: bytes, line: re.Match[bytes]) -> bytes:
    before, behind = data[: line.start()], data[line.end() :]
    if line[2]:  # a comma follows, so another key does
        return before + behind
    return b"{}\n" if before == b"{" else before.removesuffix(b",") + behind
