"""Request bodies, read strictly: what two parsers could understand differently is refused with a reason."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from socket import socket
from typing import Any, NoReturn

from flask import request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from errors import BodyTooLarge, InvalidContent, MalformedBody, UnsupportedMediaType
from prediction.contract import Upload
from prediction.records.parsing import (
    CsvRows,
    NumberedRecord,
    ParsedRecords,
    UnreadableLine,
    number_records,
    parse_csv_rows,
)
from storage.text.csv_headers import detect_delimiter
from storage.text.encoding import describe_problem

MAX_NESTING_LEVELS = 32
MAX_JSON_VALUES = 2_000_000
READ_TIMEOUT_SECONDS = 20.0
JSON = "application/json"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
MULTIPART = "multipart/form-data"
FILES = frozenset(
    {
        CSV,
        "audio/wav",
        "audio/x-wav",
        "audio/wave",
        "audio/vnd.wave",
        "audio/flac",
        "audio/x-flac",
        "audio/aiff",
        "audio/x-aiff",
        "application/octet-stream",
    }
)
"""Types of a body that is a file, for a family that takes files."""
_PIECE = 1 << 20
_CONTAINERS = frozenset({dict, list})
_DOUBTFUL_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def has_body() -> bool:
    """Whether the request carries a body, announced by its length or by chunks."""
    return bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def read_json(absent: Any = None, *, beside: Sequence[str] = ()) -> Any:
    """The request's JSON document.

    Parameters
    ----------
    absent : optional
        What stands for it where there is neither a body nor the announcement of one.
    beside : sequence of str
        Other content types that the route reads.

    Raises
    ------
    MalformedBody, InvalidContent, BodyTooLarge, UnsupportedMediaType
        Why the document cannot be used.
    """
    if not has_body() and request.mimetype != JSON:
        return absent
    if request.mimetype != JSON:
        raise UnsupportedMediaType(f"Send the body as {' or '.join([JSON, *beside])}")
    return parse_json(read_body())


def read_json_or_csv() -> Any:
    """Like `json_body`, and a ``text/csv`` body as a list of objects, one a row."""
    return parse_csv(read_body()) if request.mimetype == CSV else read_json(beside=(CSV,))


def read_records() -> ParsedRecords:
    """The records of a JSON (one or an array), NDJSON or CSV body, each with its line.

    A line of a text that holds no record is `Unreadable`.

    Raises
    ------
    MalformedBody, InvalidContent, BodyTooLarge, UnsupportedMediaType
        Why the document cannot be used.
    """
    if request.mimetype == CSV:
        return ParsedRecords(list(_csv_records(read_body())))
    if request.mimetype == NDJSON:
        lines = enumerate(read_body().splitlines(), 1)
        return ParsedRecords([(number, _line(raw)) for number, raw in lines if raw.strip()])
    document = read_json(beside=(CSV, NDJSON))
    records = list(number_records(document if isinstance(document, list) else [document]))
    return ParsedRecords(records, is_single=len(records) == 1)


def _line(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except (MalformedBody, InvalidContent) as error:
        return UnreadableLine(error.message.replace("The body", "the line", 1))


def read_file() -> Upload | None:
    """The file that the request carries: its body, or its multipart field ``file``; None where it is JSON."""
    if request.mimetype == MULTIPART:
        file = read_upload("recording")
        return Upload(file.read(), file.filename or "")
    return Upload(read_body()) if request.mimetype in FILES else None


def read_upload(what: str) -> FileStorage:
    """The file in the multipart field ``file``.

    Raises
    ------
    MalformedBody
        There is none; the sentence asks for ``what``.
    """
    file = _parts()[1].get("file")
    if file is None:
        raise MalformedBody(f"Send the {what} as multipart/form-data in a field named 'file'")
    return file


def hash_body() -> str:
    """What tells whether two requests carry the same; a multipart body's parts: each try has its boundary."""
    if request.mimetype != MULTIPART:
        return hashlib.sha256(read_body()).hexdigest()
    digest, (form, files) = hashlib.sha256(), _parts()
    for name, text in sorted(form.items(multi=True)):
        digest.update(f"{name}={text}\0".encode())
    for name, file in files.items(multi=True):
        digest.update(f"{name}:{file.filename}\0".encode())
        while piece := file.stream.read(_PIECE):
            digest.update(piece)
        file.stream.seek(0)
    return digest.hexdigest()


def _parts() -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    """The texts and the files of a multipart body; large files wait on the disk."""
    try:
        return request.form, request.files
    except RequestEntityTooLarge:
        raise
    except HTTPException as error:
        raise MalformedBody(f"The multipart body cannot be read: {error.description}") from error


def read_body() -> bytes:
    """The body's bytes, all of them; a client that stops sending does not hold the thread for ever.

    Raises
    ------
    MalformedBody
        Fewer bytes came than were announced.
    """
    data = _read(request.environ.get("gunicorn.socket"))
    if request.content_length not in (None, len(data)):
        raise MalformedBody(f"The body ended after {len(data)} of {request.content_length} bytes")
    return data


def _read(connection: socket | None) -> bytes:
    if connection is None:
        return request.get_data()
    connection.settimeout(READ_TIMEOUT_SECONDS)
    try:
        return request.get_data()
    except TimeoutError as error:
        raise MalformedBody(f"No data came for {READ_TIMEOUT_SECONDS:.0f} seconds") from error
    finally:
        connection.settimeout(None)


def parse_json(raw: bytes) -> Any:
    """One JSON document (RFC 8259) with finite numbers, unique keys and at most 32 levels.

    A byte order mark is accepted. NUL characters are valid JSON that nothing here can store: InvalidContent.
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_JSON_VALUES:
        raise BodyTooLarge(f"A body may hold at most {MAX_JSON_VALUES:,} values")
    text = _decoded(raw)
    if not text.strip():
        raise MalformedBody("The body is empty; a JSON document was expected")
    document = _loaded(text)
    if _levels(document) > MAX_NESTING_LEVELS:
        raise MalformedBody(f"The JSON document is nested more than {MAX_NESTING_LEVELS} levels deep")
    if _DOUBTFUL_ESCAPE.search(raw):
        _check_characters(document)
    return document


def _decoded(raw: bytes, wrong: str = "is not UTF-8") -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The body {wrong}: byte {error.start + 1} cannot be read") from error


def _loaded(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise MalformedBody(
            f"The JSON document is nested more than {MAX_NESTING_LEVELS} levels deep"
        ) from error
    except ValueError as error:  # CPython refuses to read integers of more than 4,300 digits
        raise MalformedBody("The body holds a number with too many digits") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise MalformedBody(f"The key {json.dumps(twice[:100])} stands twice in one JSON object")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedBody(f"{word} is not JSON; leave the field out or send null")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedBody(f"The number {text[:40]} is too large")
    return number


def _levels(document: Any) -> int:
    """How deep arrays and objects are nested, level by level and so without recursion."""
    level, depth = [document] if type(document) in _CONTAINERS else [], 0
    while level:
        level = [child for node in level for child in _children(node) if type(child) in _CONTAINERS]
        depth += 1
    return depth


def _children(node: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


def _check_characters(document: Any) -> None:
    for text in _texts(document):
        if _HALF_PAIR.search(text):
            raise MalformedBody("The body holds half of a surrogate pair (\\ud800 to \\udfff), no character")
        if "\0" in text:
            raise InvalidContent("The body holds NUL characters (\\u0000), which cannot be stored")


def _texts(document: Any) -> Iterator[str]:
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict | list):
            waiting.extend(_children(node))
            waiting.extend(node if isinstance(node, dict) else ())


def parse_csv(raw: bytes) -> CsvRows:
    """Rows of a CSV text as objects, named by its first line; ``;`` and ``,`` are told apart by that line.

    Raises
    ------
    MalformedBody
        With the line that cannot be read.
    """
    rows = list(_csv_records(raw))
    for number, row in rows:
        if isinstance(row, UnreadableLine):
            raise MalformedBody(f"CSV row {number} {row}")
    return CsvRows(row for _, row in rows)


def _csv_records(raw: bytes) -> Iterator[NumberedRecord]:
    text = _decoded(raw, describe_problem(raw[:4]))
    if "\0" in text:
        raise MalformedBody("The CSV text holds NUL characters")
    return parse_csv_rows(StringIO(text, newline=""), detect_delimiter(text.split("\n", 1)[0]))
