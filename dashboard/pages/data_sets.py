"""Data sets: upload a table or recordings, see what is wrong and where, repair, and train on them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.datasets import UploadForm, allow_large_body, receive_upload
from api.http.context import identity, manager
from api.http.resource import Query
from dashboard.resource import FILE_FORM, FORM, HTML, REDIRECT, Pages, drop_empty, see_other
from dashboard.training_form import (
    MODEL_FIELD,
    build_fields,
    faults_by_field,
    read_options,
    start_training,
)
from errors import MillwrightError
from prediction import registry
from storage.datasets.facts import RECORDINGS, TABLE
from storage.datasets.findings import FindingDict
from storage.datasets.recordings.collection import Recordings
from storage.datasets.store import Dataset
from storage.text.dates import DATE_ORDERS
from storage.text.encoding import ENCODINGS

data_sets = Pages("data pages", "Data sets, for people.")

# The family that is trained on a data set, by its kind.
FAMILY_OF_KIND: Final = {TABLE: "forecasting", RECORDINGS: "damage"}
# What the page asks for by the columns of the table, or knows.
_CHOSEN: Final = ("dataset", "target_columns", "feature_columns", "future_columns")
# Options in sight; the others unfold.
_FIRST_OPTIONS: Final = frozenset({"architecture", "model_type", "window_size", "future_steps", "epochs"})
PREVIEW_ROWS: Final = 12
# Rows above the one that a finding leads to, so that what is wrong with it can be seen.
_ROWS_ABOVE: Final = 3


class DataSetQuery(Schema):
    """Which rows are shown, and which fixes are tried; the latter may be named several times."""

    first_row = fields.Integer(load_default=1, validate=validate.Range(1, 10**12))
    fixes = fields.String(validate=validate.Length(1, 100))


@data_sets.operation(
    "/data",
    REDIRECT,
    method="POST",
    role="train",
    body=FILE_FORM,
    errors=(413, 422),
    before_body=allow_large_body,
)
def upload_on_page() -> ResponseReturnValue:
    """Store a file as a data set, and lead to it."""
    texts = {name: text for name, text in request.form.items() if name != "token"}
    return see_other(f"/data/{receive_upload(drop_empty(UploadForm(), texts)).id}")


@data_sets.operation("/data/<dataset_id>", HTML, query=DataSetQuery)
def get_data_set(query: Query, dataset_id: str) -> ResponseReturnValue:
    """Show a data set: what is wrong at which rows, what fixes would change, and the form that trains on it."""
    dataset = manager().datasets.get(dataset_id, identity().tenant)
    return _render(dataset, query["first_row"], request.args.getlist("fixes"))


@data_sets.operation("/data/<dataset_id>/fixes", REDIRECT, method="POST", role="train", body=FORM)
def fix_on_page(dataset_id: str) -> ResponseReturnValue:
    """Store a repaired copy, and lead to it."""
    fixed = manager().datasets.fix(dataset_id, request.form.getlist("fixes"), identity().tenant)
    return see_other(f"/data/{fixed.id}")


@data_sets.operation("/data/<dataset_id>/delete", REDIRECT, method="POST", role="train", body=FORM)
def delete_on_page(dataset_id: str) -> ResponseReturnValue:
    """Delete a data set; models trained on it stay."""
    kind = manager().datasets.get(dataset_id, identity().tenant).kind
    manager().datasets.delete(dataset_id, identity().tenant)
    return see_other(f"/{FAMILY_OF_KIND[kind]}")


@data_sets.operation(
    "/data/<dataset_id>/train", REDIRECT, method="POST", role="train", body=FORM, errors=(409, 422)
)
def train_on_data_set(dataset_id: str) -> ResponseReturnValue:
    """Train on a data set, after the chosen fixes, and lead to the session."""
    dataset = manager().datasets.get(dataset_id, identity().tenant)
    family, fixes = FAMILY_OF_KIND[dataset.kind], request.form.getlist("fixes")
    repaired = None
    try:
        options = {**read_options(family, ignored=_CHOSEN), "dataset": dataset.id}
        if dataset.kind == TABLE:
            options["target_columns"] = request.form.getlist("target_columns")
            options["feature_columns"] = request.form.getlist("feature_columns") or None
            options["future_columns"] = request.form.getlist("future_columns") or None
        # Before the fixes: they take long, and a wrong option is told at once.
        registry.create_parser(family).parse_options(options)
        if fixes:
            repaired = manager().datasets.fix(dataset.id, fixes, identity().tenant)
            options["dataset"] = repaired.id
        outcome = start_training(family, options)
    except MillwrightError as error:
        if repaired is not None:
            # Nobody asked for a copy without a training.
            manager().datasets.delete(repaired.id, identity().tenant)
        return make_response(_render(dataset, error=error), error.status)
    assert outcome.session is not None
    return see_other(f"/trainings/{outcome.session.id}")


def upload_hints() -> dict[str, Sequence[str]]:
    """Return the choices of the form that uploads."""
    return {"encodings": ENCODINGS, "date_orders": DATE_ORDERS}


def _render(
    dataset: Dataset, first_row: int = 1, fixes: Sequence[str] = (), error: MillwrightError | None = None
) -> str:
    """Render a data set; after an error, with everything that was written in the form."""
    family, tenant = FAMILY_OF_KIND[dataset.kind], identity().tenant
    findings = dataset.facts["findings"]
    trial = manager().datasets.preview_fix(dataset.id, fixes, tenant) if fixes else None
    written = {name: values[-1] for name, values in request.form.lists()}
    options = build_fields(family, hidden=_CHOSEN, values=written)
    page: dict[str, object] = {
        "dataset": dataset,
        "facts": dataset.facts,
        "findings": findings,
        "fixes": list(dict.fromkeys(finding["fix"] for finding in findings if finding["fix"])),
        "tried": fixes,
        "trial": trial,
        "preview": manager().datasets.preview(dataset.id, tenant, first_row - 1, PREVIEW_ROWS),
        "rows_above": _ROWS_ABOVE,
        "marks": _mark_rows(findings),
        "model": written.get(MODEL_FIELD) or _suggest_name(dataset.facts["name"]),
        "first_options": [option for option in options if option.name in _FIRST_OPTIONS],
        "more_options": [option for option in options if option.name not in _FIRST_OPTIONS],
        "faults": faults_by_field(error) if error else {},
        "error": error,
    }
    if dataset.kind == RECORDINGS:
        return render_template(
            "data/recordings.html", **page, specimens=_count_specimens(dataset.recordings())
        )
    numeric = dataset.facts["numeric"]
    chosen = request.form.getlist("target_columns") or ([] if error else numeric[-1:])
    return render_template(
        "data/table.html",
        **page,
        targets=chosen,
        features=request.form.getlist("feature_columns"),
        known=request.form.getlist("future_columns"),
    )


def _mark_rows(findings: Sequence[FindingDict]) -> dict[int, list[str]]:
    """Return what is wrong by row, counted from 1; a finding names its first rows."""
    marks: defaultdict[int, list[str]] = defaultdict(list)
    for finding in findings:
        for row in finding["rows"]:
            marks[row].append(finding["message"])
    return dict(marks)


def _count_specimens(recordings: Recordings) -> dict[str, Counter[str]]:
    """Return how many recordings each specimen has, by class."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in recordings.entries:
        counts[entry.label or ""][entry.specimen or ""] += 1
    return dict(sorted(counts.items()))


def _suggest_name(file_name: str) -> str:
    """Return a name for the model of a file, which the model may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", PurePath(file_name).stem)[:60].strip("-_.") or "model"
