"""Letting a fuzzer that has read /openapi.json loose on an application."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import schemathesis
from flask import Flask
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineEvent, FatalError, NonFatalError, ScenarioFinished

from api.http.request_body import BINARY_TABLE_TYPES
from prediction.scoring.requests.id_spelling import fold_blanks

CLEARED = ("/api/failure-events", "/api/telemetry")
THIS_YEAR = datetime.now(UTC).year
VISIBLE = re.compile("[!-~]{1,255}")


def problems_of(app: Flask, paths: str, examples: int, config: dict[str, Any] | None = None) -> list[str]:
    """Return what the fuzzer finds wrong, each kind once.

    Parameters
    ----------
    paths : str
        Regular expression of the beginning of the paths to attack.
    examples : int
        Random examples an operation, besides the systematic ones.
    config : dict, optional
        Further configuration of schemathesis.
    """
    generation = {"max-examples": examples, "deterministic": True, "allow-x00": False, "database": "none"}
    others = {"include-path-regex": f"^(?!{paths})", "enabled": False}
    operations = [*(config or {}).get("operations", []), others]
    patient = {"suppress-health-check": ["filter_too_much"]}  # most random years are none that can be kept
    settings = SchemathesisConfig.from_dict(
        {**patient, **(config or {}), "generation": generation, "operations": operations}
    )
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app, config=settings)
    found: dict[tuple[str, str], str] = {}
    for event in from_schema(schema).execute():
        found |= {known: said for known, said in _problems(event).items() if known not in found}
    return list(found.values())


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Replace what a schema cannot describe before a request is sent.

    Every valid Idempotency-Key becomes a new one: repeated keys are tested elsewhere. Telemetry whose channels
    are all null gets a number, because no schema can say that one of any names must have one. Nor can one say
    that a column of the body must have the name that the query gives.
    """
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and VISIBLE.fullmatch(key):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    if case.path == "/api/telemetry" and case.method == "POST":
        for row in _rows(case.body):
            if _measures_nothing(row):
                row["current_mean"] = 1.5
    for name in ("time_column", "tag_column", "channel_column", "value_column", "sheet"):
        if (case.query or {}).get(name):
            del case.query[name]


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Return whether a generated request is one that the API must accept or refuse by its schema alone.

    A schema cannot say which texts are CSV tables and which bytes Parquet or Arrow, that an id belongs to one
    record only, that a number is also a name, between which years a time lies, nor that one of three parameters
    must be present.
    """
    if (
        case.media_type in {"text/csv", *BINARY_TABLE_TYPES}
        or _names_twice(case.body)
        or _empties_a_table(case)
    ):
        return False
    if _is_out_of_time(case.query or {}):
        return False
    return not any(isinstance(row.get("device_id"), int) or _is_out_of_time(row) for row in _rows(case.body))


def _empties_a_table(case: Any) -> bool:
    return case.method == "DELETE" and case.path in CLEARED and not case.query


def _rows(body: Any) -> list[dict[str, Any]]:
    records = body.get("records", [body]) if isinstance(body, dict) else body
    return [row for row in records if isinstance(row, dict)] if isinstance(records, list) else []


def _measures_nothing(row: dict[str, Any]) -> bool:
    told = [name for name, value in row.items() if value is not None]
    return len(row) > 1 and set(told) <= {"device_id", "timestamp"}


def _is_out_of_time(fields: Mapping[str, Any]) -> bool:
    times = (str(fields.get(name, "")) for name in ("applied_at", "at", "event_time", "timestamp"))
    dates = [time for time in times if re.match(r"\d{4}-\d\d-\d\d", time)]
    return any(not "1901" <= date[:4] < str(THIS_YEAR) for date in dates)


def _names_twice(body: Any) -> bool:
    """Return whether ids are equal, or differ in blanks only, which one report's ids may not either."""
    ids = [row.get("anomaly_id") for row in _rows(body)]
    folded = [fold_blanks(name) if isinstance(name, str) else repr(name) for name in ids]
    return len(ids) != len(set(folded))


def _problems(event: EngineEvent) -> dict[tuple[str, str], str]:
    if isinstance(event, FatalError | NonFatalError):
        return {(str(event), ""): str(event)}
    if not isinstance(event, ScenarioFinished):
        return {}
    recorder = event.recorder
    return {
        (check.name, recorder.label): _describe(recorder, case_id, check)
        for case_id, checks in recorder.checks.items()
        for check in checks
        if check.failure_info is not None
    }


def _describe(recorder: Any, case_id: str, check: Any) -> str:
    failure, exchange = check.failure_info.failure, recorder.interactions.get(case_id)
    asked = f"{exchange.request.method} {exchange.request.uri} {exchange.request.body!r}" if exchange else ""
    answered = f"{exchange.response.status_code} {exchange.response.content[:500]!r}" if exchange else ""
    return f"{check.name}: {failure.title}\n{failure.message}\n{asked[:1000]}\n{answered}"
