"""Parse training and prediction requests of the scoring family."""

from __future__ import annotations

from collections.abc import Mapping

from marshmallow import fields, validate

from prediction.contract import Options, RecordBatch, RequestParser
from prediction.options import TrackedOptions, load_options
from prediction.records.parsing import TableRows
from prediction.scoring.model.hyperparameters import DEFAULT_COST, FULL_COST_ROWS
from prediction.scoring.requests import record_validation
from prediction.scoring.requests.column_mapping import map_row


class ScoringOptions(TrackedOptions):
    """Options of a scoring training."""

    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))
    coverage = fields.Float(load_default=0.9, validate=validate.Range(0.5, 0.99))
    cost = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 20),
        metadata={
            "description": "How many times worse a missed 5 is than a false one. Without it "
            f"{DEFAULT_COST:g}, and less with fewer than {FULL_COST_ROWS} reports."
        },
    )


class ScoringRequestParser(RequestParser):
    """Anomaly reports, with three expert scores in a training request."""

    def parse_options(self, raw: Mapping[str, object]) -> Options:
        return load_options(ScoringOptions, raw)

    def parse_records(self, raw: object) -> RecordBatch:
        return record_validation.parse_scored_reports(_map_rows(raw))

    def parse_inputs(self, raw: object) -> RecordBatch:
        return record_validation.parse_reports(_map_rows(raw))

    def has_download(self, file_name: str) -> bool:
        from prediction.scoring.serving.downloads import DOWNLOAD_NAMES

        return file_name in DOWNLOAD_NAMES


def _map_rows(raw: object) -> object:
    """Return rows of a table as records of the API, and anything else as it is."""
    return [map_row(row) for row in raw] if isinstance(raw, TableRows) else raw
