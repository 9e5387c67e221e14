"""Anomaly reports: three scores for new ones, with evidence, and training with scored ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate

from api.http.context import manager
from api.http.request_body import parse_csv, parse_table
from api.http.resource import Query
from api.models.predict import PredictionResult, predict_batch
from dashboard.resource import FILE_FORM, HTML, REDIRECT, FormQuery, Pages, see_other
from dashboard.stored_reports import read_stored_reports, report_model_key
from dashboard.versions import summarize_version
from errors import InvalidContent, InvalidRecords, MillwrightError, NotFound
from prediction import registry
from prediction.contract import Record
from prediction.records import TableRows
from prediction.scoring.requests.record_validation import RATER, SCORE_FIELDS
from storage.anomaly_reports.reports import SCORES

reports = Pages("report pages", "Anomaly reports, for people.")

# Cells of the table in which scored reports are written; the API takes further fields.
COLUMNS: Final = ("anomaly_id", "description", "equipment_name", "equipment_id", *SCORE_FIELDS)
# What a stored report has besides: it travels with its row, so that a correction keeps it.
HIDDEN_COLUMNS: Final = ("system", "owner_section", "detected_at", "source")
_ALL_COLUMNS: Final = (*COLUMNS, RATER, *HIDDEN_COLUMNS)
EMPTY_ROWS: Final = 3
# Versions whose quality stands in a row.
MAX_VERSIONS: Final = 8
# More rows than fit a page stay a text, so that none of them is lost.
MAX_TABLE_ROWS: Final = 50
MAX_SCORED: Final = 50


class ReportQuery(FormQuery):
    """Which stored report is corrected: its number."""

    correct = fields.String(validate=validate.Length(1, 200))


@dataclass(frozen=True)
class PageForm:
    """What stands in the forms of the page, and what came of it.

    Parameters
    ----------
    reports, table, correct : str
        Texts as they were written: reports to score, a table of scored ones, the number of a report to correct.
    rows : sequence of mapping
        Rows of the table of scored reports.
    faults : mapping
        What is wrong, by number of the row, from 1, and column.
    answers : sequence of tuple
        Each report with its scores.
    warnings : sequence of str
        What the training says of records that are not new.
    """

    reports: str = ""
    table: str = ""
    correct: str = ""
    rows: Sequence[Mapping[str, str]] = ()
    faults: Mapping[tuple[object, object], str] = field(default_factory=dict)
    answers: Sequence[tuple[Record, Mapping[str, Any]]] = ()
    result: PredictionResult | None = None
    score_error: MillwrightError | None = None
    train_error: MillwrightError | None = None
    correct_error: MillwrightError | None = None
    nothing_new: bool = False
    warnings: Sequence[str] = ()


@reports.operation("/reports", HTML, query=ReportQuery, errors=(404,))
def get_reports(query: Query) -> ResponseReturnValue:
    """Ask for reports to score, or for scored reports to learn from; a stored one can be corrected."""
    number = query.get("correct", "").strip()
    if not number:
        return _render(PageForm())
    try:
        return _render(PageForm(correct=number, rows=[_find_report(number)]))
    except MillwrightError as error:
        return make_response(_render(PageForm(correct=number, correct_error=error)), error.status)


@reports.operation("/reports/score", HTML, method="POST", role="read", body=FILE_FORM, errors=(409, 422))
def score_reports() -> ResponseReturnValue:
    """Score reports: one a line, or a table with a header, which may be a file."""
    text = request.form.get("reports", "")
    try:
        table = _read_file()
        if table is not None and text.strip():
            raise InvalidContent("Choose a file or write reports, not both")
        records = _read_reports(text) if table is None else table
        if not 1 <= len(records) <= MAX_SCORED:
            raise InvalidContent(
                f"Write 1 to {MAX_SCORED} reports, one a line: these are {len(records)}. POST /predict takes more"
            )
        key = report_model_key()
        result = predict_batch(key, registry.parse_inputs(key.family, records), {})
    except MillwrightError as error:
        return make_response(_render(PageForm(reports=text, score_error=error)), error.status)
    answers = list(zip(result.batch.records, result.predictions, strict=True))
    return _render(PageForm(reports=text, answers=answers, result=result))


@reports.operation("/reports/train", REDIRECT, method="POST", role="train", body=FILE_FORM, errors=(409, 422))
def train_on_page() -> ResponseReturnValue:
    """Train with scored reports from the table, from a pasted one or a file; lead to the session."""
    text = request.form.get("table", "")
    rows = TableRows(())
    try:
        rows = _read_table() if not text.strip() else parse_csv(text.encode())
        table = _read_file()
        if table is not None and rows:
            raise InvalidContent("Choose a file, fill in the table or paste one: only one of these is read")
        rows = table if table is not None else rows
        if not rows:
            raise InvalidContent("Fill in at least one row, paste a table, or choose a file")
        outcome = manager().train(report_model_key(), rows, wait=False)
    except MillwrightError as error:
        form = replace(_keep_table(text, rows), faults=_faults_by_cell(error), train_error=error)
        return make_response(_render(form), error.status)
    if outcome.session is None:
        return _render(replace(_keep_table(text, rows), nothing_new=True, warnings=outcome.warnings))
    return see_other(f"/trainings/{outcome.session.id}")


def _keep_table(text: str, rows: TableRows) -> PageForm:
    """Return the form with what was written; as a text where the table has no place for all of it."""
    fits = len(rows) <= MAX_TABLE_ROWS and all(row.keys() <= {*_ALL_COLUMNS} for row in rows)
    return PageForm(table="" if fits and rows else text, rows=rows if fits else ())


def _render(form: PageForm) -> str:
    """Render the page with its forms, and how good the versions were."""
    key, service = report_model_key(), manager().models
    numbers = service.version_numbers(key)[: -MAX_VERSIONS - 1 : -1]
    versions = [summarize_version(key, number) for number in numbers]
    champion = service.champion_numbers([key])[0].get(key)
    served = summarize_version(key, champion) if champion is not None else None
    has_raters = bool(form.correct) or any(row.get(RATER) for row in form.rows)
    return render_template(
        "reports/page.html",
        **{**vars(form), "rows": form.rows or [{}] * EMPTY_ROWS},
        columns=(*COLUMNS, RATER) if has_raters else COLUMNS,
        pasted_columns=COLUMNS,
        hidden_columns=HIDDEN_COLUMNS,
        scores=SCORES,
        score_fields=SCORE_FIELDS,
        versions=versions,
        champion=champion,
        # Of the figures, the one that names reports is the list of the largest errors.
        errors=next((figure for figure in served.figures if "records" in figure), None) if served else None,
    )


def _find_report(number: str) -> dict[str, str]:
    """Return the row of a stored report, to be corrected.

    Raises
    ------
    NotFound
        No report came through Millwright with this number.
    """
    stored = read_stored_reports()
    if number not in stored.anomaly_ids:
        raise NotFound(
            f"There is no report {number}: only those that came through Millwright have a number, and others are "
            "corrected in the plant's files"
        )
    row = stored.anomaly_ids.index(number)
    texts = {
        "description": stored.description,
        "equipment_name": stored.equipment_name,
        "equipment_id": stored.equipment_id,
        "system": stored.system,
        "owner_section": stored.owner_section,
        "detected_at": stored.detected_at,
        "source": stored.sources or [""] * len(stored),
        RATER: stored.raters or [""] * len(stored),
    }
    values = zip(SCORE_FIELDS, (stored.scores[score][row] for score in SCORES), strict=True)
    return {
        "anomaly_id": number,
        **{name: column[row] for name, column in texts.items()},
        **{name: "" if value is None else f"{value:g}" for name, value in values},
    }


def _read_reports(text: str) -> TableRows | list[Mapping[str, object]]:
    """Return the rows of a table whose header names a description, or else one report a line."""
    header, _, _ = text.strip().partition("\n")
    if "description" in (cell.strip(' "\r').lower() for cell in re.split("[,;\t]", header)):
        return parse_csv(text.strip().encode())
    return [{"description": line.strip()} for line in text.splitlines() if line.strip()]


def _read_file() -> TableRows | None:
    """Return the rows of the uploaded table; None where no file was chosen."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return None
    return parse_table(file.read())


def _read_table() -> TableRows:
    """Return the rows of the form that have a value: texts, like those of a CSV file."""
    count = sum(name.startswith("description-") for name in request.form)
    rows = (
        # Browsers send line breaks of two characters, whatever the stored text has.
        {
            column: request.form.get(f"{column}-{number}", "").strip().replace("\r\n", "\n")
            for column in _ALL_COLUMNS
        }
        for number in range(count)
    )
    filled = (row for row in rows if any(row.values()))
    return TableRows({name: text for name, text in row.items() if text or name in COLUMNS} for row in filled)


def _faults_by_cell(error: MillwrightError) -> dict[tuple[object, object], str]:
    """Return the faults of records by number of the record, from 1, and field."""
    if not isinstance(error, InvalidRecords):
        return {}
    pairs = zip(error.facts["errors"], error.facts["validation_errors"], strict=True)
    return {(fault["record"], fault["field"]): sentence for fault, sentence in pairs}
