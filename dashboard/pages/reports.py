"""Anomaly reports: three scores for new ones, with evidence, and training with scored ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue

from api.http.context import identity, manager
from api.http.request_body import parse_csv
from api.models.predict import predict_batch
from dashboard.resource import FORM, HTML, REDIRECT, Pages, see_other
from errors import InvalidContent, InvalidRecords, MillwrightError
from prediction import registry
from prediction.contract import ModelKey
from prediction.records import CsvRows
from prediction.scoring.requests.record_validation import SCORE_FIELDS
from storage.anomaly_reports.reports import SCORES

reports = Pages("report pages", "Anomaly reports, for people.")

# Cells of the table in which scored reports are written; the API takes further fields.
COLUMNS: Final = ("anomaly_id", "description", "equipment_name", "equipment_id", *SCORE_FIELDS)
EMPTY_ROWS: Final = 3
# More rows than fit a page stay a text, so that none of them is lost.
MAX_TABLE_ROWS: Final = 50
MAX_SCORED: Final = 50


@reports.operation("/reports", HTML)
def get_reports() -> str:
    """Ask for reports to score, or for scored reports to learn from."""
    return render_template("reports/page.html", **_page())


@reports.operation("/reports/score", HTML, method="POST", role="read", body=FORM, errors=(409, 422))
def score_reports() -> ResponseReturnValue:
    """Score reports: one a line, or a table with a header."""
    text = request.form.get("reports", "")
    try:
        records = _read_reports(text)
        if not 1 <= len(records) <= MAX_SCORED:
            raise InvalidContent(
                f"Write 1 to {MAX_SCORED} reports, one a line: these are {len(records)}. POST /predict takes more"
            )
        key = ModelKey(registry.DEFAULT_FAMILY, tenant=identity().tenant)
        result = predict_batch(key, registry.parse_inputs(key.family, records), {})
    except MillwrightError as error:
        page = render_template("reports/page.html", **_page(reports=text, score_error=error))
        return make_response(page, error.status)
    answers = list(zip(result.batch.records, result.predictions, strict=True))
    return render_template("reports/page.html", **_page(reports=text, answers=answers, result=result))


@reports.operation("/reports/train", REDIRECT, method="POST", role="train", body=FORM, errors=(409, 422))
def train_on_page() -> ResponseReturnValue:
    """Train with scored reports from the table, or from a pasted one; lead to the session."""
    text = request.form.get("table", "")
    rows = CsvRows(())
    try:
        rows = _read_table() if not text.strip() else parse_csv(text.encode())
        if not rows:
            raise InvalidContent("Fill in at least one row, or paste a table")
        key = ModelKey(registry.DEFAULT_FAMILY, tenant=identity().tenant)
        outcome = manager().train(key, rows, wait=False)
    except MillwrightError as error:
        # The form has no place for further columns; as a text they are kept.
        fits = len(rows) <= MAX_TABLE_ROWS and all(row.keys() <= set(COLUMNS) for row in rows)
        page = _page(
            table="" if fits and rows else text,
            rows=rows if fits else (),
            faults=_faults_by_cell(error),
            train_error=error,
        )
        return make_response(render_template("reports/page.html", **page), error.status)
    if outcome.session is None:
        return render_template("reports/page.html", **_page(nothing_new=True))
    return see_other(f"/trainings/{outcome.session.id}")


def _page(**context: object) -> dict[str, object]:
    """Return what the template needs, with the defaults of an empty page."""
    rows = context.pop("rows", ())
    assert isinstance(rows, Sequence)
    defaults: dict[str, object] = {
        "columns": COLUMNS,
        "scores": SCORES,
        "score_fields": SCORE_FIELDS,
        "rows": rows or [{}] * EMPTY_ROWS,
        "faults": {},
    }
    return {**defaults, **context}


def _read_reports(text: str) -> CsvRows | list[Mapping[str, object]]:
    """Return the rows of a table whose header names a description, or else one report a line."""
    header, _, _ = text.strip().partition("\n")
    if "description" in (cell.strip(' "\r').lower() for cell in re.split("[,;\t]", header)):
        return parse_csv(text.strip().encode())
    return [{"description": line.strip()} for line in text.splitlines() if line.strip()]


def _read_table() -> CsvRows:
    """Return the rows of the form that have a value: texts, like those of a CSV file."""
    count = sum(name.startswith("description-") for name in request.form)
    rows = (
        {column: request.form.get(f"{column}-{number}", "").strip() for column in COLUMNS}
        for number in range(count)
    )
    return CsvRows(row for row in rows if any(row.values()))


def _faults_by_cell(error: MillwrightError) -> dict[tuple[object, object], str]:
    """Return the faults of records by number of the record, from 1, and field."""
    if not isinstance(error, InvalidRecords):
        return {}
    pairs = zip(error.facts["errors"], error.facts["validation_errors"], strict=True)
    return {(fault["record"], fault["field"]): sentence for fault, sentence in pairs}
