"""Request bodies: one document, records in one of three text formats, or an uploaded file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Any

from flask import request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from api.http.strict_json import decode_utf8, parse_json
from errors import InvalidContent, MalformedBody, UnsupportedMediaType
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

# A sender that pauses for longer has gone: its request would hold a thread for as long as it likes.
READ_TIMEOUT_SECONDS = 20.0
JSON_TYPE = "application/json"
CSV_TYPE = "text/csv"
NDJSON_TYPE = "application/x-ndjson"
MULTIPART_TYPE = "multipart/form-data"
AUDIO_TYPES = tuple(
    f"audio/{kind}" for kind in ("wav", "x-wav", "wave", "vnd.wave", "flac", "x-flac", "aiff", "x-aiff")
)
FILE_TYPES = frozenset({CSV_TYPE, *AUDIO_TYPES, "application/octet-stream"})
"""Content types of a body that is a file, for a family that takes files."""
_CHUNK_BYTES = 1 << 20


def has_body() -> bool:
    """Return whether the request carries a body, announced by its length or by chunks."""
    return bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def read_json(absent: object = None, *, alternatives: Sequence[str] = ()) -> Any:
    """Read the request's one document.

    Parameters
    ----------
    absent : optional
        What to return where there is neither a body nor the announcement of one.
    alternatives : sequence of str
        Other content types that the route reads, for the error.

    Raises
    ------
    MalformedBody, InvalidContent, BodyTooLarge, UnsupportedMediaType
        The document cannot be used.
    """
    if not has_body() and request.mimetype != JSON_TYPE:
        return absent
    if request.mimetype != JSON_TYPE:
        raise UnsupportedMediaType(f"Send the body as {' or '.join([JSON_TYPE, *alternatives])}")
    return parse_json(read_body())


def read_json_or_csv() -> Any:
    """Read a document like `read_json`, or a ``text/csv`` body as a list of objects, one a row."""
    if request.mimetype == CSV_TYPE:
        return parse_csv(read_body())
    return read_json(alternatives=(CSV_TYPE,))


def read_records() -> ParsedRecords:
    """Read the records of a body (one document or an array, NDJSON or CSV), each with its line.

    A line of a text that holds no record becomes an `UnreadableLine`.

    Raises
    ------
    MalformedBody, InvalidContent, BodyTooLarge, UnsupportedMediaType
        The body cannot be used as a whole.
    """
    if request.mimetype == CSV_TYPE:
        return ParsedRecords(list(_csv_records(read_body())))
    if request.mimetype == NDJSON_TYPE:
        lines = enumerate(read_body().splitlines(), 1)
        return ParsedRecords([(number, _parse_line(raw)) for number, raw in lines if raw.strip()])
    document = read_json(alternatives=(CSV_TYPE, NDJSON_TYPE))
    records = list(number_records(document if isinstance(document, list) else [document]))
    return ParsedRecords(records, is_single=len(records) == 1)


def _parse_line(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except (MalformedBody, InvalidContent) as error:
        return UnreadableLine(error.message.replace("The body", "the line", 1))


def read_file() -> Upload | None:
    """Read the file of the request: its body, or its multipart field ``file``; None where it is a document."""
    if request.mimetype == MULTIPART_TYPE:
        file = read_upload("recording")
        return Upload(file.read(), file.filename or "")
    return Upload(read_body()) if request.mimetype in FILE_TYPES else None


def read_upload(noun: str) -> FileStorage:
    """Return the file in the multipart field ``file``; MalformedBody asks for ``noun`` where there is none."""
    file = _multipart_parts()[1].get("file")
    if file is None:
        raise MalformedBody(f"Send the {noun} as multipart/form-data in a field named 'file'")
    return file


def hash_body() -> str:
    """Return a digest that is equal for two requests with the same content."""
    if request.mimetype != MULTIPART_TYPE:
        return hashlib.sha256(read_body()).hexdigest()
    # A multipart body is hashed by its parts: every attempt of a client has another boundary.
    digest, (form, files) = hashlib.sha256(), _multipart_parts()
    for name, text in sorted(form.items(multi=True)):
        digest.update(f"{name}={text}\0".encode())
    for name, file in files.items(multi=True):
        digest.update(f"{name}:{file.filename}\0".encode())
        while chunk := file.stream.read(_CHUNK_BYTES):
            digest.update(chunk)
        file.stream.seek(0)
    return digest.hexdigest()


def _multipart_parts() -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    """Return the texts and the files of a multipart body; werkzeug keeps large files on the disk."""
    try:
        return request.form, request.files
    except RequestEntityTooLarge:
        raise
    except HTTPException as error:
        raise MalformedBody(f"The multipart body cannot be read: {error.description}") from error


def read_body() -> bytes:
    """Read all bytes of the body.

    Raises
    ------
    MalformedBody
        Fewer bytes came than were announced, or the sender paused for too long.
    RequestEntityTooLarge
        More bytes came than a body may have.
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        data = request.get_data()
    else:
        connection.settimeout(READ_TIMEOUT_SECONDS)
        try:
            data = request.get_data()
        except TimeoutError as error:
            raise MalformedBody(f"No data came for {READ_TIMEOUT_SECONDS:.0f} seconds") from error
        finally:
            connection.settimeout(None)
    if request.content_length is None and len(data) == request.max_content_length:
        # werkzeug stops at the limit without a word where no length was announced (chunked); more may follow.
        if request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    elif request.content_length not in (None, len(data)):
        raise MalformedBody(f"The body ended after {len(data)} of {request.content_length} bytes")
    return data


def parse_csv(raw: bytes) -> CsvRows:
    """Parse a CSV text into objects named by its first line, which also tells ``;`` from ``,``.

    Raises
    ------
    MalformedBody
        A line cannot be read; it is named.
    """
    rows = list(_csv_records(raw))
    for number, row in rows:
        if isinstance(row, UnreadableLine):
            raise MalformedBody(f"CSV row {number} {row}")
    return CsvRows(row for _, row in rows)


def _csv_records(raw: bytes) -> Iterator[NumberedRecord]:
    text = decode_utf8(raw, describe_problem(raw[:4]))
    if "\0" in text:
        raise MalformedBody("The CSV text holds NUL characters")
    return parse_csv_rows(StringIO(text, newline=""), detect_delimiter(text.split("\n", 1)[0]))
