"""Validate anomaly reports as clients send them, and report every fault of every record at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from errors import InvalidContent, InvalidRecords
from prediction.contract import Record, RecordBatch
from prediction.records.fields import CONTROL_CHARACTERS, SHORTENED_NUMBER, RecordFault
from prediction.records.parsing import TimeCell
from prediction.scoring.requests.id_spelling import fold_blanks
from storage.anomaly_reports.csv_store import SCORES, format_stored_time, hash_record
from storage.text.dates import describe_two_days
from storage.text.numbers import is_missing

MAX_RECORDS = 1_000
MAX_INPUTS = 6_000
MAX_DESCRIPTION_LENGTH = 2_000
MAX_TEXT_LENGTH = 255
SHORT_DESCRIPTION_WORDS = 50
MAX_WARNINGS = 50
MAX_VALUE_LENGTH = 100
STORED_TIME = "%Y-%m-%d %H:%M:%S"

TEXTS = ("description", "equipment_name", "equipment_id")
OPTIONAL_TEXTS = ("system", "owner_section", "source")
# Of scored records alone: nobody has scored what is to be predicted.
RATER = "rater"
SCORE_FIELDS = tuple(f"{score}_score" for score in SCORES)
REQUIRED = ("anomaly_id", *TEXTS, *SCORE_FIELDS)
KNOWN_FIELDS = frozenset((*REQUIRED, *OPTIONAL_TEXTS, "detected_at", RATER))


def parse_scored_reports(raw: object) -> RecordBatch:
    """Return the records of a training request, each with three scores and its hash.

    Raises
    ------
    InvalidRecords
        With every fault of every record.
    """
    records = _check_list(raw, MAX_RECORDS)
    faults: list[RecordFault] = []
    valid: dict[int, Record] = {}
    for number, record in enumerate(records, 1):
        problems = list(
            _check_record(number, record, REQUIRED, ("anomaly_id", "description", "equipment_id"))
        )
        faults += problems
        if not problems:
            clean = _normalize(record) | {name: float(record[name]) for name in SCORE_FIELDS}
            rater = record.get(RATER) or ""
            clean[RATER] = "" if is_missing(rater) else rater
            valid[number] = clean | {"record_sha256": hash_record(clean)}
    faults += _find_conflicting_ids(valid)
    _refuse(sorted(faults, key=lambda fault: fault["record"] or 0))
    normalized = list(valid.values())
    warnings = list(_warn(normalized))
    if (hidden := len(warnings) - MAX_WARNINGS) > 0:
        warnings[MAX_WARNINGS:] = [f"and {hidden:,} more warnings"]
    return RecordBatch(normalized, warnings, _list_unknown(records, KNOWN_FIELDS))


def parse_reports(raw: object) -> RecordBatch:
    """Return the inputs of a prediction request: one record or up to 6,000, each with a description.

    Raises
    ------
    InvalidRecords
        With every fault of every record.
    """
    records = [raw] if isinstance(raw, dict) else _check_list(raw, MAX_INPUTS)
    required = ("description",)
    _refuse([f for n, record in enumerate(records, 1) for f in _check_record(n, record, required, required)])
    unknown = _list_unknown(records, KNOWN_FIELDS.difference((*SCORE_FIELDS, RATER)))
    return RecordBatch([_normalize(record) for record in records], (), unknown)


def _refuse(faults: Sequence[RecordFault]) -> None:
    if faults:
        raise InvalidRecords(faults)


def _check_list(raw: object, max_length: int) -> list[Record]:
    if not isinstance(raw, list):
        message = f"Expected an array of 1 to {max_length:,} records, got {_describe(raw)}"
        raise InvalidRecords([_fault(None, None, "type", raw, message)])
    if not raw:
        message = f"Expected 1 to {max_length:,} records, got an empty array"
        raise InvalidRecords([_fault(None, None, "empty", 0, message)])
    if len(raw) > max_length:
        message = f"At most {max_length:,} records are accepted at once, got {len(raw):,}"
        raise InvalidRecords([_fault(None, None, "too_many", len(raw), message)])
    return raw


def _check_record(
    number: int, record: object, required: Sequence[str], never_blank: Sequence[str]
) -> Iterator[RecordFault]:
    if not isinstance(record, dict):
        yield _fault(number, None, "type", record, f"must be an object, got {_describe(record)}")
        return
    missing = [name for name in required if record.get(name) is None]
    if missing:
        yield _fault(number, missing[0], "missing", None, f"Missing required fields: {missing}")
    # Predictions ignore scores and their rater, whatever they are.
    rater = (RATER,) if SCORE_FIELDS[0] in required else ()
    for name in ("anomaly_id", *TEXTS, *OPTIONAL_TEXTS, *rater):
        value = record.get(name)
        problem = None if value is None else _check_text(name, value, name in never_blank)
        if problem is not None:
            yield _fault(number, name, problem[0], value, f"{name} {problem[1]}")
    if isinstance(anomaly_id := record.get("anomaly_id"), str):
        yield from _check_id(number, anomaly_id, is_identity="anomaly_id" in required)
    detected_at = record.get("detected_at")
    if isinstance(detected_at, TimeCell):
        yield _fault(
            number, "detected_at", "ambiguous", detected_at, f"detected_at {describe_two_days(detected_at)}"
        )
    elif detected_at not in (None, "") and not _is_time(detected_at):
        message = (
            f"detected_at must be a date and time such as 2024-12-05T14:30:22Z, got {_describe(detected_at)}"
        )
        yield _fault(number, "detected_at", "time", detected_at, message)
    for name in SCORE_FIELDS:
        if name in required and record.get(name) is not None:
            value = record[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                yield _fault(number, name, "type", value, f"{name} must be a number, got {_describe(value)}")
            elif not 1 <= value <= 5:
                yield _fault(
                    number, name, "range", value, f"{name} must be between 1 and 5, got {_describe(value)}"
                )


def _check_text(name: str, value: object, never_blank: bool) -> tuple[str, str] | None:
    """Return the fault's code and what is wrong with the text, None if nothing is."""
    max_length = MAX_DESCRIPTION_LENGTH if name == "description" else MAX_TEXT_LENGTH
    if not isinstance(value, str):
        return "type", f"must be a string, got {_describe(value)}"
    if len(value) > max_length:
        return "too_long", f"must be at most {max_length} characters, got {len(value)}"
    if "\0" in value:
        return "character", "must not contain NUL characters"
    # A lone surrogate is valid JSON, but no UTF-8: it could not be stored.
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "character", "contains a lone surrogate, which is not a character"
    return _check_filled(name, value) if never_blank else None


def _check_filled(name: str, value: str) -> tuple[str, str] | None:
    """Return the fault of a text that must say something."""
    if not value.strip():
        return "blank", "must not be blank"
    # An id has a sentence of its own.
    if name != "anomaly_id" and is_missing(value):
        return (
            "missing",
            f"{value.strip()!r} stands for an empty cell: write what it is, or leave the record out",
        )
    return None


def _check_id(number: int, anomaly_id: str, *, is_identity: bool) -> Iterator[RecordFault]:
    """Yield the faults of an id; that of a prediction only comes back beside it and needs to name nothing."""
    text = anomaly_id.strip()
    if is_identity and text and is_missing(text):
        message = f"anomaly_id {text!r} stands for an empty cell: every report needs an id of its own"
        yield _fault(number, "anomaly_id", "missing", anomaly_id, message)
    # They would reach terminals and logs.
    if is_identity and CONTROL_CHARACTERS.search(anomaly_id):
        message = "anomaly_id must not contain control characters"
        yield _fault(number, "anomaly_id", "character", anomaly_id, message)
    if SHORTENED_NUMBER.fullmatch(text):
        message = (
            f"anomaly_id {text} is a number that a spreadsheet has shortened, so that different reports "
            "share it; format its column as text and export the table again"
        )
        yield _fault(number, "anomaly_id", "shortened", anomaly_id, message)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH and bool(format_stored_time(value))
    except InvalidContent:
        return False


def _find_conflicting_ids(records: Mapping[int, Record]) -> Iterator[RecordFault]:
    """Yield a fault for each id that stands, or seems to stand, for two different records of one batch."""
    first: dict[str, tuple[int, str]] = {}
    spellings: dict[str, tuple[int, str]] = {}
    for number, record in records.items():
        first_number, sha256 = first.setdefault(record["anomaly_id"], (number, record["record_sha256"]))
        if sha256 != record["record_sha256"]:
            message = (
                f"anomaly_id {record['anomaly_id']!r} was already used by record {first_number} "
                "with other content"
            )
            yield _fault(number, "anomaly_id", "duplicate_id", record["anomaly_id"], message)
        other, spelling = spellings.setdefault(
            fold_blanks(record["anomaly_id"]), (number, record["anomaly_id"])
        )
        if spelling != record["anomaly_id"]:
            message = (
                f"anomaly_id {record['anomaly_id']!r} differs from {spelling!r} of record {other} in blanks only; "
                "give one report one id"
            )
            yield _fault(number, "anomaly_id", "ambiguous_id", record["anomaly_id"], message)


def _warn(records: Sequence[Record]) -> Iterator[str]:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime(STORED_TIME)
    for number, record in enumerate(records, 1):
        words = len(record["description"].split())
        if words < SHORT_DESCRIPTION_WORDS:
            yield (
                f"Record {number}: description has {words} word{'' if words == 1 else 's'}; "
                f"{SHORT_DESCRIPTION_WORDS} or more make better predictions"
            )
        for name in SCORE_FIELDS:
            if not (record[name] * 2).is_integer():
                yield f"Record {number}: {name} {record[name]:g} is unusual: scores are whole or half numbers"
        if record["detected_at"] > tomorrow:
            yield f"Record {number}: detected_at {record['detected_at']} lies in the future"


def _normalize(record: Record) -> dict[str, object]:
    """Return the record with every text field present and its time as it is stored."""
    clean: dict[str, object] = {
        name: record.get(name) or "" for name in ("anomaly_id", *TEXTS, *OPTIONAL_TEXTS)
    }
    for name in ("equipment_name", *OPTIONAL_TEXTS):
        if is_missing(str(clean[name])):
            clean[name] = ""
    clean["detected_at"] = format_stored_time(record.get("detected_at") or "")
    return clean


def _list_unknown(records: Sequence[Mapping[str, object]], known: frozenset[str]) -> list[str]:
    return sorted({name for record in records for name in record if name not in known})


def _fault(number: int | None, field: str | None, code: str, value: object, problem: str) -> RecordFault:
    message = problem if number is None else f"Record {number}: {problem}"
    return {"record": number, "field": field, "code": code, "value": _shorten(value), "message": message}


def _shorten(value: object) -> str | float | None:
    if isinstance(value, str):
        return value if len(value) <= MAX_VALUE_LENGTH else value[:MAX_VALUE_LENGTH] + "…"
    return value if value is None or isinstance(value, bool | int | float) else _describe(value)


_DESCRIPTIONS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    str: lambda value: json.dumps(_shorten(value), ensure_ascii=False),
    list: lambda _: "an array",
    dict: lambda _: "an object",
    float: lambda value: f"{value:g}" if math.isfinite(value) else str(value),
}


def _describe(value: object) -> str:
    """Return a value as the sender knows it: in JSON's spelling."""
    return _DESCRIPTIONS.get(type(value), lambda other: str(other)[:MAX_VALUE_LENGTH])(value)
