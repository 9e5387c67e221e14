"""Check what clients send to the forecasting family: options that name a dataset, and a series' last rows."""

from __future__ import annotations

from collections.abc import Mapping

from errors import InvalidContent, InvalidRecords
from prediction.contract import Options, RecordBatch, RequestParser
from prediction.dataset_source import DatasetSource
from prediction.forecasting.data.preparation import check_dataset
from prediction.forecasting.options import ForecastingOptions
from prediction.forecasting.query_options import MISSING_CELLS
from prediction.options import load_options
from prediction.records.fields import FieldError, is_number, parse_coverage
from storage.datasets.facts import DatasetFacts

MAX_ROWS = 100_000
MIN_COVERAGE, MAX_COVERAGE = 0.5, 0.99
_QUERY_FIELDS = {"rows", "coverage", "degradation_threshold", "missing_cells", "future"}


class ForecastingSource(DatasetSource):
    """Tables that models are trained on."""

    def check_facts(self, facts: DatasetFacts, options: Options) -> None:
        check_dataset(facts, options)


class ForecastingParser(RequestParser):
    """Checks options and the last rows of a series."""

    def parse_options(self, raw: Mapping[str, object]) -> Options:
        return load_options(ForecastingOptions, raw)

    def parse_inputs(self, raw: object) -> RecordBatch:
        """Check the last rows of one series: ``{"rows": [...]}`` or the list itself, oldest first.

        Values are numbers, or texts that read as such (a CSV body); the time column is a text.
        """
        request = {"rows": raw} if isinstance(raw, list) else raw
        if not isinstance(request, dict) or not isinstance(request.get("rows"), list):
            raise InvalidContent('Send the last rows as {"rows": [{column: value, …}, …]} or as CSV')
        rows = request["rows"]
        if not rows or len(rows) > MAX_ROWS:
            raise InvalidContent(f"Send between 1 and {MAX_ROWS:,} rows; {len(rows):,} were sent")
        future = request.get("future")
        if future is not None and not isinstance(future, list):
            raise InvalidContent('Send the rows to forecast as "future": [{column: value, …}, …]')
        error = FieldError(None, "not_an_object", None, "must be an object of column names and values")
        faults = [
            error.to_dict(number)
            for part in (rows, future or [])
            for number, row in enumerate(part, 1)
            if not isinstance(row, dict)
        ]
        if faults:
            raise InvalidRecords(faults)
        series = {
            "rows": rows,
            "future": future,
            "coverage": parse_coverage(request.get("coverage"), MIN_COVERAGE, MAX_COVERAGE),
            "degradation_threshold": _parse_threshold(request.get("degradation_threshold")),
            "missing_cells": _parse_missing_cells(request.get("missing_cells")),
        }
        return RecordBatch([series], ignored_fields=sorted(set(request) - _QUERY_FIELDS))


def _parse_missing_cells(choice: object) -> str | None:
    """Check what is to happen with missing cells."""
    if choice is not None and choice not in MISSING_CELLS:
        raise InvalidContent(f"missing_cells must be {' or '.join(MISSING_CELLS)}, not {choice!r}")
    return None if choice is None else str(choice)


def _parse_threshold(threshold: object) -> dict[str, float] | float | None:
    """Check one number for all targets, or a number a target."""
    if threshold is None or is_number(threshold):
        return threshold
    if isinstance(threshold, dict) and all(map(is_number, threshold.values())):
        return threshold
    raise InvalidContent("degradation_threshold must be a number, or an object of targets and numbers")
