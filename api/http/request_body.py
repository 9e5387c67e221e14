"""Request bodies: one document, records in a text format or as columns, or an uploaded file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

from flask import request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from api.http.strict_json import decode_utf8, parse_json
from errors import InvalidContent, InvalidRecords, MalformedBody, UnsupportedMediaType
from prediction.contract import Upload
from prediction.records.fields import FieldError
from prediction.records.parsing import (
    CsvRecords,
    ParsedRecords,
    TableRows,
    UnreadableLine,
    number_records,
    read_local_times,
)
from prediction.records.split_times import join_split_times
from storage.datasets.columnar import read_rows_in_child
from storage.datasets.workbook import is_workbook, read_workbook_in_child
from storage.text.dates import DateOrder
from storage.text.encoding import ENCODINGS, UTF_8, describe_problem, find_encoding

# A sender that pauses for longer has gone: its request would hold a thread for as long as it likes.
READ_TIMEOUT_SECONDS = 20.0
JSON_TYPE = "application/json"
CSV_TYPE = "text/csv"
NDJSON_TYPE = "application/x-ndjson"
COLUMNAR_TYPES = (
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
)
WORKBOOK_TYPES = (
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
)
# Bodies of rows that are no text.
BINARY_TABLE_TYPES = (*COLUMNAR_TYPES, *WORKBOOK_TYPES)
MULTIPART_TYPE = "multipart/form-data"
AUDIO_TYPES = tuple(
    f"audio/{kind}" for kind in ("wav", "x-wav", "wave", "vnd.wave", "flac", "x-flac", "aiff", "x-aiff")
)
# Content types of a body that is a file, for a family that takes files.
FILE_TYPES = frozenset({CSV_TYPE, *AUDIO_TYPES, "application/octet-stream"})
# As many as any of them may have.
_MAX_TABLE_ROWS = 500_000
_COLUMNAR_SIGNATURES = (b"PAR1", b"ARROW1")
_MAX_NAMED_FILES = 5
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
    return parse_json(_read_text())


def read_json_or_table(date_order: DateOrder | None = None, sheet: str | None = None) -> Any:
    """Read a document like `read_json`, or a table (CSV, a workbook, Parquet or Arrow) as objects, one a row."""
    _check_sheet(sheet)
    if request.mimetype == CSV_TYPE:
        return parse_csv(_read_text(), date_order)
    if request.mimetype in WORKBOOK_TYPES:
        return parse_csv(read_workbook_in_child(read_body(), sheet), date_order)
    if request.mimetype in COLUMNAR_TYPES:
        return _parse_columns(read_body(), date_order)
    return read_json(alternatives=(CSV_TYPE, *BINARY_TABLE_TYPES))


def _check_sheet(sheet: str | None) -> None:
    if sheet is not None and request.mimetype not in WORKBOOK_TYPES:
        raise InvalidContent("sheet names the sheet of a workbook, and the body is none: leave it out")


def read_records(date_order: DateOrder | None, max_rows: int, sheet: str | None = None) -> ParsedRecords:
    """Read the records of a body (JSON, NDJSON, CSV, a workbook, Parquet or Arrow), each with its line.

    A line of a text that holds no record becomes an `UnreadableLine`.

    Parameters
    ----------
    date_order : str, optional
        Which of day and month comes first in dates such as 03/04/2024 in a table.
    max_rows : int
        Of a longer Parquet or Arrow table, only one row more is read.
    sheet : str, optional
        Of a workbook, by its name.

    Raises
    ------
    MalformedBody, InvalidContent, BodyTooLarge, UnsupportedMediaType
        The body cannot be used as a whole.
    """
    _check_sheet(sheet)
    parsed = _parse_records(date_order, max_rows, sheet)
    notes = list(parsed.notes)
    return replace(parsed, records=list(join_split_times(parsed.records, notes)), notes=notes)


def _parse_records(date_order: DateOrder | None, max_rows: int, sheet: str | None) -> ParsedRecords:
    if request.mimetype == CSV_TYPE:
        rows = _csv_records(_read_text(), date_order)
        return ParsedRecords(list(rows), notes=rows.notes)
    if request.mimetype == NDJSON_TYPE:
        lines = enumerate(_read_text().splitlines(), 1)
        return ParsedRecords([(number, _parse_line(raw)) for number, raw in lines if raw.strip()])
    if request.mimetype in COLUMNAR_TYPES:
        table = number_records(read_rows_in_child(read_body(), max_rows))
        return ParsedRecords(list(read_local_times(table, date_order)))
    if request.mimetype in WORKBOOK_TYPES:
        rows = _csv_records(read_workbook_in_child(read_body(), sheet), date_order)
        return ParsedRecords(list(rows), notes=rows.notes)
    document = read_json(alternatives=(CSV_TYPE, NDJSON_TYPE, *BINARY_TABLE_TYPES))
    records = list(number_records(document if isinstance(document, list) else [document]))
    return ParsedRecords(records, is_single=len(records) == 1)


def check_count(records: Sequence[object], max_count: int, noun: str, hint: str = "") -> None:
    """Check that a body has 1 to ``max_count`` records.

    Parameters
    ----------
    hint : str
        Why there may be none.

    Raises
    ------
    InvalidRecords
        There are none, or too many: then the rest may not have been read, so that nobody knows how many.
    """
    if 1 <= len(records) <= max_count:
        return
    amount = f"more than {max_count:,}" if records else f"none{hint}"
    message = f"Expected 1 to {max_count:,} {noun}, got {amount}"
    raise InvalidRecords([FieldError(None, "count", None if records else 0, message).to_dict(None)])


def _parse_line(raw: bytes) -> object:
    try:
        return parse_json(raw)
    except (MalformedBody, InvalidContent) as error:
        return UnreadableLine(error.message.replace("The body", "the line", 1))


def read_file() -> Upload | None:
    """Read the file of the request: its body, or its multipart field ``file``; None where it is a document."""
    if request.mimetype == MULTIPART_TYPE:
        file = read_upload("recording")
        return Upload(file.read(), file.filename or "")
    if request.mimetype == CSV_TYPE:
        return Upload(_read_text())
    return Upload(read_body()) if request.mimetype in FILE_TYPES else None


def read_upload(noun: str) -> FileStorage:
    """Return the file in the multipart field ``file``; raise MalformedBody where there is none, or more than one."""
    files = _multipart_parts()[1]
    if "file" not in files:
        raise MalformedBody(f"Send the {noun} as multipart/form-data in a field named 'file'")
    names = [file.filename or "" for _, file in files.items(multi=True)]
    if len(names) > 1:
        shown = ", ".join(map(repr, names[:_MAX_NAMED_FILES]))
        raise MalformedBody(f"Send one file in a request, the {noun}; there are {len(names)}: {shown}")
    return files["file"]


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


def stated_encoding(parameters: Mapping[str, str]) -> str | None:
    """Return the encoding that the parameters of a content type name; None where they name none.

    Raises
    ------
    UnsupportedMediaType
        The encoding is not read here.
    """
    charset = parameters.get("charset")
    if charset is None:
        return None
    encoding = find_encoding(charset)
    if encoding is None:
        raise UnsupportedMediaType(f"charset={charset[:50]} is not read: send one of {', '.join(ENCODINGS)}")
    return encoding


def _read_text() -> bytes:
    """Read a body that is text, and return it as UTF-8 whatever encoding its content type names.

    Raises
    ------
    UnsupportedMediaType, MalformedBody
        The encoding is not known here, or the body is not in it.
    """
    encoding = stated_encoding(request.mimetype_params)
    raw = read_body()
    if encoding in (None, UTF_8):
        return raw
    try:
        return raw.decode(encoding).encode()
    except UnicodeError as error:
        raise MalformedBody(f"The body is not {encoding}, as its content type says: {error}") from error


def parse_table(content: bytes, date_order: DateOrder | None = None) -> TableRows:
    """Parse a file into objects, one a row: a workbook, Parquet or Arrow by its first bytes, or else CSV.

    Raises
    ------
    MalformedBody, InvalidContent
        The file cannot be read.
    """
    if is_workbook(content):
        return parse_csv(read_workbook_in_child(content), date_order)
    if content.startswith(_COLUMNAR_SIGNATURES):
        return _parse_columns(content, date_order)
    return parse_csv(content, date_order)


def _parse_columns(content: bytes, date_order: DateOrder | None) -> TableRows:
    rows = read_rows_in_child(content, _MAX_TABLE_ROWS)
    if len(rows) > _MAX_TABLE_ROWS:
        raise InvalidContent(f"The table has more than {_MAX_TABLE_ROWS:,} rows: send it in parts")
    notes = list[str]()
    records = read_local_times(number_records(rows), date_order)
    return TableRows([row for _, row in join_split_times(records, notes)], notes)


def parse_csv(raw: bytes, date_order: DateOrder | None = None) -> TableRows:
    """Parse a CSV text into objects with the names of its columns.

    Raises
    ------
    MalformedBody
        A line cannot be read; it is named.
    """
    records = _csv_records(raw, date_order)
    rows = []
    notes = list[str]()
    for number, row in join_split_times(records, notes):
        if isinstance(row, UnreadableLine):
            raise MalformedBody(f"CSV row {number} {row}")
        rows.append(row)
    return TableRows(rows, [*notes, *records.notes])


def _csv_records(raw: bytes, date_order: DateOrder | None) -> CsvRecords:
    text = decode_utf8(raw, describe_problem(raw[:4]))
    return CsvRecords(StringIO(text, newline=""), date_order)
