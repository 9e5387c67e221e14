"""Datasets: tables and recordings that people upload to train on, and what is wrong with them, and where."""

from __future__ import annotations

from collections.abc import Mapping

from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.request_body import read_json, read_upload, stated_encoding
from api.http.resource import Document, Query, Resource
from api.http.schemas import Confirmation, DryRunQuery, OpenSchema, load_document, page, page_schema
from errors import BodyTooLarge
from storage.datasets.facts import INPUT_KINDS
from storage.datasets.hints import UploadHints
from storage.datasets.store import Dataset
from storage.datasets.tables.repair import FIXES
from storage.text.dates import DATE_ORDERS
from storage.text.encoding import ENCODINGS, UTF_8

MAX_NAME_LENGTH = 200
# A multipart body has headers and text fields besides its file.
MAX_ENVELOPE_BYTES = 1 << 20
# Facts that training needs and nobody reads.
_HIDDEN_FACTS = frozenset({"numeric", "texts", "time_format"})

datasets = Resource("datasets", "Tables and recordings to train on.")


class FindingView(OpenSchema):
    """One kind of fault, with the first rows concerned; the first row below the header is row 1."""

    code = fields.String(required=True)
    message = fields.String(required=True)
    count = fields.Integer(required=True)
    rows = fields.List(fields.Integer(), required=True)
    column = fields.String(required=True, allow_none=True)
    values = fields.List(fields.String(), required=True)
    fix = fields.String(required=True, allow_none=True)


class DatasetView(OpenSchema):
    """One dataset, and what its validation found."""

    id = fields.String(required=True, metadata={"example": "ds-0f3c5a9b1d2e"})
    kind = fields.String(required=True, metadata={"enum": ["table", "recordings"]})
    name = fields.String(required=True)
    created_at = fields.String(required=True)
    rows = fields.Integer(required=True)
    columns = fields.List(fields.String(), required=True)
    types = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    time_column = fields.String(required=True, allow_none=True)
    frequency_seconds = fields.Float(required=True, allow_none=True)
    first_timestamp = fields.String(required=True, allow_none=True)
    last_timestamp = fields.String(required=True, allow_none=True)
    findings = fields.List(fields.Nested(FindingView), required=True)
    parent = fields.String(required=True, allow_none=True)
    fixes = fields.List(fields.String(), required=True)
    recordings = fields.Integer(metadata={"description": "How many, where the dataset is of that kind."})
    labels = fields.Dict(keys=fields.String(), values=fields.Integer())
    specimens = fields.Integer()
    sampling_rate_hz = fields.Float(allow_none=True)
    input_kind = fields.String(metadata={"enum": list(INPUT_KINDS), "description": "Of recordings."})


class PreviewView(Schema):
    """Some rows of a dataset, null where a cell is no number; of recordings, some entries of their list."""

    first_row = fields.Integer(required=True)
    total_rows = fields.Integer(required=True)
    rows = fields.List(fields.Dict(), required=True)


class PreviewQuery(Schema):
    """Which rows."""

    first_row = fields.Integer(
        load_default=1, validate=validate.Range(1, 10**12), metadata={"description": "Counted from 1."}
    )
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 1000))


class FixRequest(Schema):
    """Fixes to apply, in whatever order they are named."""

    fixes = fields.List(
        fields.String(validate=validate.OneOf(list(FIXES))), required=True, validate=validate.Length(1, 20)
    )


class FixPreview(OpenSchema):
    """What fixes would change: the response with `dry_run`."""

    dry_run = fields.Boolean(required=True)
    rows_removed = fields.Integer(required=True)
    rows_added = fields.Integer(required=True)
    columns_removed = fields.List(fields.String(), required=True)
    cells_filled = fields.Integer(required=True)
    cells_emptied = fields.Integer(required=True)
    findings = fields.List(fields.Nested(FindingView), required=True)


class UploadForm(Schema):
    """What the sender says of a dataset besides the file; unknown fields are refused."""

    sampling_rate_hz = fields.Float(load_default=None, validate=validate.Range(1e-6, 1e9))
    label_column = fields.String(load_default="label", validate=validate.Length(1, 200))
    specimen_column = fields.String(load_default="specimen", validate=validate.Length(1, 200))
    input_kind = fields.String(load_default=None, validate=validate.OneOf(INPUT_KINDS))
    date_order = fields.String(load_default=None, validate=validate.OneOf(DATE_ORDERS))
    time_column = fields.String(load_default=None, validate=validate.Length(1, 200))
    pivot_by = fields.String(load_default=None, validate=validate.Length(1, 200))
    encoding = fields.String(load_default=None, validate=validate.OneOf(ENCODINGS))
    sheet = fields.String(load_default=None, validate=validate.Length(1, 200))


_UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "sampling_rate_hz": {
                        "type": "number",
                        "description": "Of recordings that do not tell it.",
                    },
                    "label_column": {
                        "type": "string",
                        "description": "Column that labels a recording's rows: `label`.",
                    },
                    "specimen_column": {
                        "type": "string",
                        "description": "Column that names the specimen: `specimen`.",
                    },
                    "input_kind": {
                        "type": "string",
                        "enum": list(INPUT_KINDS),
                        "description": "`spectrograms` where CSV files are such without frequencies in their "
                        "header.",
                    },
                    "encoding": {
                        "type": "string",
                        "enum": list(ENCODINGS),
                        "description": "Of CSV files; otherwise the charset of the part's content type, or `utf-8`.",
                    },
                    "time_column": {
                        "type": "string",
                        "description": "Column of the times; otherwise the first one that reads as times.",
                    },
                    "pivot_by": {
                        "type": "string",
                        "description": "Column of names in a long table: the dataset gets a column for each name.",
                    },
                    "sheet": {
                        "type": "string",
                        "description": "The sheet of a workbook; not needed where one alone has cells.",
                    },
                    "date_order": {
                        "type": "string",
                        "enum": list(DATE_ORDERS),
                        "description": "Which comes first in dates such as 03/04/2024.",
                    },
                },
                "required": ["file"],
            }
        }
    },
}
_FIX_BODY = {"required": True, "content": {"application/json": {"schema": FixRequest}}}


def allow_large_body() -> None:
    """Let a body be as large as a dataset may be; raise BodyTooLarge where it announces to be larger."""
    store = manager().datasets
    if (request.content_length or 0) > store.max_bytes + MAX_ENVELOPE_BYTES:
        raise BodyTooLarge(store.limit_message)
    request.max_content_length = store.max_bytes + MAX_ENVELOPE_BYTES


@datasets.operation(
    "/datasets",
    {201: DatasetView},
    method="POST",
    role="train",
    body=_UPLOAD_BODY,
    idempotent=True,
    before_body=allow_large_body,
)
def upload_dataset() -> ResponseReturnValue:
    """Upload a table (CSV, gzipped CSV, a workbook or Parquet) or a zip of recordings in the multipart field `file`.

    ---
    The upload is stored as it is: the report names faults by row, or wrong files, and proposes fixes.
    """
    return _dataset_to_dict(receive_upload(request.form.to_dict())), 201


def receive_upload(fields_of_form: Mapping[str, str]) -> Dataset:
    """Store the file of this request as a dataset; the fields are those of `UploadForm`."""
    file = read_upload("table or zip")
    name = (file.filename or "dataset").replace("\\", "/").rpartition("/")[2]
    form = load_document(UploadForm, fields_of_form)
    form["encoding"] = form["encoding"] or stated_encoding(file.mimetype_params) or UTF_8
    hints = UploadHints(**form)
    return manager().datasets.receive(file.stream, name[:MAX_NAME_LENGTH], identity().tenant, hints)


@datasets.operation("/datasets", {200: page_schema(DatasetView)})
def list_datasets() -> ResponseReturnValue:
    """List every dataset, the newest first, on one page."""
    return page([_dataset_to_dict(dataset) for dataset in manager().datasets.list(identity().tenant)])


@datasets.operation("/datasets/<dataset_id>", {200: DatasetView})
def get_dataset(dataset_id: str) -> ResponseReturnValue:
    """Return one dataset with the findings of its validation."""
    return _dataset_to_dict(manager().datasets.get(dataset_id, identity().tenant))


@datasets.operation("/datasets/<dataset_id>/preview", {200: PreviewView}, query=PreviewQuery)
def preview_dataset(query: Query, dataset_id: str) -> ResponseReturnValue:
    """Return some rows of a dataset."""
    preview = manager().datasets.preview(
        dataset_id, identity().tenant, query["first_row"] - 1, query["limit"]
    )
    return dict(preview)


@datasets.operation(
    "/datasets/<dataset_id>/fixes",
    {200: FixPreview, 201: DatasetView},
    method="POST",
    role="train",
    query=DryRunQuery,
    body=_FIX_BODY,
    idempotent=True,
)
def fix_dataset(query: Query, dataset_id: str) -> ResponseReturnValue:
    """Create a repaired copy of a dataset; the dataset itself stays as it is.

    ---
    With `dry_run` nothing is created; the response counts the rows and cells that would change.
    """
    fixes = load_document(FixRequest, read_json(absent={}))["fixes"]
    if query["dry_run"]:
        return {"dry_run": True, **manager().datasets.preview_fix(dataset_id, fixes, identity().tenant)}
    return _dataset_to_dict(manager().datasets.fix(dataset_id, fixes, identity().tenant)), 201


@datasets.operation("/datasets/<dataset_id>", {200: Confirmation}, method="DELETE", role="train")
def delete_dataset(dataset_id: str) -> ResponseReturnValue:
    """Delete a dataset; models trained on it stay."""
    manager().datasets.delete(dataset_id, identity().tenant)
    return {"success": True, "message": f"Removed {dataset_id}"}


def _dataset_to_dict(dataset: Dataset) -> Document:
    return {name: fact for name, fact in dataset.facts.items() if name not in _HIDDEN_FACTS}
