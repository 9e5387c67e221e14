"""Check what clients send to the forecasting family: options that name a dataset, and a series' last rows."""

from __future__ import annotations

from typing import Any

from errors import InvalidContent, InvalidRecords
from prediction.contract import JSON, RecordBatch, RequestParser
from prediction.dataset_source import DatasetSource
from prediction.forecasting.data.preparation import check_dataset
from prediction.forecasting.options import ForecastingOptions
from prediction.options import load_options
from prediction.records.fields import FieldError
from storage.datasets.facts import DatasetFacts

MAX_ROWS = 100_000
MIN_COVERAGE, MAX_COVERAGE = 0.5, 0.99
_QUERY_FIELDS = {"rows", "coverage", "degradation_threshold"}


class ForecastingSource(DatasetSource):
    """Tables that models are trained on."""

    def check_facts(self, facts: DatasetFacts, options: JSON) -> None:
        check_dataset(facts, options)


class ForecastingParser(RequestParser):
    """Checks options and the last rows of a series."""

    def parse_options(self, raw: JSON) -> JSON:
        return load_options(ForecastingOptions, raw)

    def parse_inputs(self, raw: Any) -> RecordBatch:
        """Check the last rows of one series: ``{"rows": [...]}`` or the list itself, oldest first.

        Values are numbers, or texts that read as such (a CSV body); the time column is a text.
        """
        request = {"rows": raw} if isinstance(raw, list) else raw
        if not isinstance(request, dict) or not isinstance(request.get("rows"), list):
            raise InvalidContent('Send the last rows as {"rows": [{column: value, …}, …]} or as CSV')
        rows = request["rows"]
        if not rows or len(rows) > MAX_ROWS:
            raise InvalidContent(f"Send between 1 and {MAX_ROWS:,} rows; {len(rows):,} were sent")
        error = FieldError(None, "not_an_object", None, "must be an object of column names and values")
        faults = [error.to_dict(number) for number, row in enumerate(rows, 1) if not isinstance(row, dict)]
        if faults:
            raise InvalidRecords(faults)
        series = {
            "rows": rows,
            "coverage": _parse_coverage(request.get("coverage")),
            "degradation_threshold": _parse_threshold(request.get("degradation_threshold")),
        }
        return RecordBatch([series], ignored_fields=sorted(set(request) - _QUERY_FIELDS))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parse_coverage(coverage: Any) -> float | None:
    if coverage is None:
        return None
    if not _is_number(coverage) or not MIN_COVERAGE <= coverage <= MAX_COVERAGE:
        raise InvalidContent(f"coverage must be a number from {MIN_COVERAGE} to {MAX_COVERAGE}")
    return float(coverage)


def _parse_threshold(threshold: Any) -> dict[str, float] | float | None:
    """Check one number for all targets, or a number a target."""
    if threshold is None:
        return None
    if not all(map(_is_number, threshold.values() if isinstance(threshold, dict) else [threshold])):
        raise InvalidContent("degradation_threshold must be a number, or an object of targets and numbers")
    limits: dict[str, float] | float = threshold
    return limits
