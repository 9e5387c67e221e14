"""Anomaly reports as clients send them: every fault of every record is found and named at once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from errors import InvalidRecords
from prediction.contract import JSON, RecordBatch
from storage.anomaly_reports.csv_store import SCORES

MAX_RECORDS = 1_000
MAX_INPUTS = 6_000
MAX_DESCRIPTION_LENGTH = 2_000
MAX_TEXT_LENGTH = 255
SHORT_DESCRIPTION_WORDS = 50
MAX_WARNINGS = 50
STORED_TIME = "%Y-%m-%d %H:%M:%S"

TEXTS = ("description", "equipment_name", "equipment_id")
OPTIONAL_TEXTS = ("system", "owner_section", "source")
SCORE_FIELDS = tuple(f"{score}_score" for score in SCORES)
REQUIRED = ("anomaly_id", *TEXTS, *SCORE_FIELDS)
KNOWN_FIELDS = frozenset((*REQUIRED, *OPTIONAL_TEXTS, "detected_at"))

Fault = dict[str, Any]
Faults = Iterator[Fault]


def parse_scored_reports(raw: Any) -> RecordBatch:
    """Records of a training request, each with its three scores and the digest of what was sent.

    Raises
    ------
    InvalidRecords
        With every fault of every record.
    """
    sent = _listed(raw, MAX_RECORDS)
    faults = [fault for number, record in enumerate(sent, 1) for fault in _scored_faults(number, record)]
    wrong = {fault["record"] for fault in faults}
    sound = {n: _normalised(record, REQUIRED) for n, record in enumerate(sent, 1) if n not in wrong}
    _refuse(sorted([*faults, *_contradictions(sound)], key=lambda fault: fault["record"]))
    records = list(sound.values())
    return RecordBatch(records, _summarised(list(_doubts(records))), _ignored(sent, KNOWN_FIELDS))


def reports(raw: Any) -> RecordBatch:
    """Inputs of a prediction request: one record or up to 6,000; only the description must be there.

    Raises
    ------
    InvalidRecords
        With every fault of every record.
    """
    sent = [raw] if isinstance(raw, dict) else _listed(raw, MAX_INPUTS)
    _refuse([fault for number, record in enumerate(sent, 1) for fault in _report_faults(number, record)])
    known = KNOWN_FIELDS.difference(SCORE_FIELDS)
    records = [_normalised(record, ("anomaly_id", *TEXTS)) for record in sent]
    return RecordBatch(records, (), _ignored(sent, known))


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidRecords(faults)


def _listed(raw: Any, most: int) -> list[Any]:
    if not isinstance(raw, list):
        said = f"Expected an array of 1 to {most:,} records, got {_shown(raw)}"
        _refuse([_fault(None, None, "type", raw, said)])
    if not raw:
        _refuse([_fault(None, None, "empty", 0, f"Expected 1 to {most:,} records, got an empty array")])
    if len(raw) > most:
        said = f"At most {most:,} records are accepted at once, got {len(raw):,}"
        _refuse([_fault(None, None, "too_many", len(raw), said)])
    return list(raw)


def _scored_faults(number: int, record: Any) -> Faults:
    if not isinstance(record, dict):
        yield _fault(number, None, "type", record, f"must be an object, got {_shown(record)}")
        return
    missing = [name for name in REQUIRED if record.get(name) is None]
    if missing:
        yield _fault(number, missing[0], "missing", None, f"Missing required fields: {missing}")
    yield from _text_faults(number, record, ("anomaly_id", *TEXTS), may_be_blank=("equipment_name",))
    yield from _optional_faults(number, record)
    for name in SCORE_FIELDS:
        if record.get(name) is not None:
            yield from _score_faults(number, name, record[name])


def _report_faults(number: int, record: Any) -> Faults:
    if not isinstance(record, dict):
        yield _fault(number, None, "type", record, f"must be an object, got {_shown(record)}")
        return
    if record.get("description") is None:
        yield _fault(number, "description", "missing", None, "Missing required fields: ['description']")
    others = ("anomaly_id", "equipment_name", "equipment_id")
    yield from _text_faults(number, record, ("description", *others), may_be_blank=others)
    yield from _optional_faults(number, record)


def _optional_faults(number: int, record: JSON) -> Faults:
    yield from _text_faults(number, record, OPTIONAL_TEXTS, may_be_blank=OPTIONAL_TEXTS)
    if record.get("detected_at") not in (None, ""):
        yield from _time_faults(number, record["detected_at"])


def _text_faults(number: int, record: JSON, names: Sequence[str], may_be_blank: Sequence[str]) -> Faults:
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        said = _text_fault(value, MAX_DESCRIPTION_LENGTH if name == "description" else MAX_TEXT_LENGTH)
        if said is None and name not in may_be_blank and not value.strip():
            said = ("blank", "must not be blank")
        if said is not None:
            yield _fault(number, name, said[0], value, f"{name} {said[1]}")


def _text_fault(value: Any, longest: int) -> tuple[str, str] | None:
    if not isinstance(value, str):
        return "type", f"must be a string, got {_shown(value)}"
    if len(value) > longest:
        return "too_long", f"must be at most {longest} characters, got {len(value)}"
    if "\0" in value:
        return "character", "must not contain NUL characters"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "character", "contains half of a surrogate pair, which is no character"
    return None


def _score_faults(number: int, name: str, value: Any) -> Faults:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield _fault(number, name, "type", value, f"{name} must be a number, got {_shown(value)}")
    elif not 1 <= value <= 5:
        yield _fault(number, name, "range", value, f"{name} must be between 1 and 5, got {_shown(value)}")


def _time_faults(number: int, value: Any) -> Faults:
    if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH or format_stored_time(value) is None:
        wanted = "must be a date and time such as 2024-12-05T14:30:22Z"
        yield _fault(number, "detected_at", "time", value, f"detected_at {wanted}, got {_shown(value)}")


def _contradictions(records: Mapping[int, JSON]) -> Faults:
    """An id that stands for two different records of one batch, given by their numbers."""
    first: dict[str, tuple[int, str]] = {}
    for number, record in records.items():
        seen = first.setdefault(record["anomaly_id"], (number, record["record_sha256"]))
        if seen[1] != record["record_sha256"]:
            said = (
                f"anomaly_id {record['anomaly_id']!r} was already used by record {seen[0]} with other content"
            )
            yield _fault(number, "anomaly_id", "duplicate_id", record["anomaly_id"], said)


def _doubts(records: Sequence[JSON]) -> Iterator[str]:
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


def _summarised(doubts: list[str]) -> list[str]:
    kept = doubts[:MAX_WARNINGS]
    return (
        kept if len(doubts) <= MAX_WARNINGS else [*kept, f"and {len(doubts) - MAX_WARNINGS:,} more warnings"]
    )


def _normalised(record: JSON, texts: Sequence[str]) -> JSON:
    """The record with every known field present: texts as sent, times as stored, scores as floats."""
    clean: JSON = {name: record.get(name) or "" for name in (*texts, *OPTIONAL_TEXTS)}
    clean["detected_at"] = (record.get("detected_at") and format_stored_time(record["detected_at"])) or ""
    if "availability_score" in texts:
        clean |= {name: float(record[name]) for name in SCORE_FIELDS}
        clean["record_sha256"] = _digest(clean)
    return clean


def _digest(record: JSON) -> str:
    """sha256 of what was sent, the id left out: equal for a repeat, different for a correction."""
    content = {name: value for name, value in record.items() if name != "anomaly_id"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def format_stored_time(text: str) -> str | None:
    """A time as the CSV files keep it, in UTC without offset; None where it cannot be read.

    A time without an offset is taken as it stands, like those the plant's own files hold.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
        return moment.isoformat(sep=" ", timespec="seconds")[:19]
    except (ValueError, OverflowError):
        return None


def _ignored(sent: Sequence[JSON], known: frozenset[str]) -> list[str]:
    return sorted({name for record in sent for name in record if name not in known})


def _fault(number: int | None, field: str | None, code: str, value: Any, said: str) -> Fault:
    message = said if number is None else f"Record {number}: {said}"
    return {"record": number, "field": field, "code": code, "value": _short(value), "message": message}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= 100 else value[:100] + "…"
    return value if value is None or isinstance(value, bool | int | float) else _shown(value)


_KINDS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    str: lambda value: json.dumps(_short(value), ensure_ascii=False),
    list: lambda _: "an array",
    dict: lambda _: "an object",
    float: lambda value: f"{value:g}" if math.isfinite(value) else str(value),
}


def _shown(value: Any) -> str:
    """The value as a person wrote it, in JSON's words."""
    return _KINDS.get(type(value), lambda other: str(other)[:100])(value)
