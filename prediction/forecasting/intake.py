"""What a client may send to the forecasting family: options that name a dataset, and a series' last rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errors import InvalidContent, InvalidRecords
from prediction.contract import JSON, Intake, ModelKey, RecordBatch
from prediction.forecasting.data.preparation import check
from prediction.forecasting.options import ForecastingOptions
from prediction.options import load_options
from storage.datasets.store import DatasetStore

MAX_ROWS = 100_000
_ASIDE = {"rows", "coverage", "degradation_threshold"}


class ForecastingIntake(Intake):
    """Datasets below ``data/datasets/``; models are named as people like."""

    def parse_options(self, raw: JSON) -> JSON:
        return load_options(ForecastingOptions, raw)

    def check_options(self, key: ModelKey, options: JSON) -> None:
        store = DatasetStore(self.data_dir / "datasets")
        check(store.get(options["dataset"], key.tenant).require_kind("table").facts, options)

    def parse_inputs(self, raw: Any) -> RecordBatch:
        """The last rows of one series: ``{"rows": [...]}`` or the list itself, oldest first.

        Values are numbers, or texts that read as such (a CSV body); the time column is a text.
        """
        request = {"rows": raw} if isinstance(raw, list) else raw
        if not isinstance(request, dict) or not isinstance(request.get("rows"), list):
            raise InvalidContent('Send the last rows as {"rows": [{column: value, …}, …]} or as CSV')
        rows = request["rows"]
        if not rows or len(rows) > MAX_ROWS:
            raise InvalidContent(f"Send between 1 and {MAX_ROWS:,} rows; {len(rows):,} were sent")
        faults = [_fault(number) for number, row in enumerate(rows, 1) if not isinstance(row, dict)]
        if faults:
            raise InvalidRecords(faults)
        one = {"rows": rows, "coverage": _coverage(request), "degradation_threshold": _threshold(request)}
        return RecordBatch([one], ignored_fields=sorted(set(request) - _ASIDE))

    def training_source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
        return {"datasets": str(self.data_dir / "datasets"), "tenant": key.tenant, "model": key.path}


def _fault(number: int) -> JSON:
    return {
        "record": number,
        "field": None,
        "code": "not_an_object",
        "value": None,
        "message": f"Record {number}: must be an object of column names and values",
    }


def _coverage(request: JSON) -> float | None:
    coverage = request.get("coverage")
    if coverage is None:
        return None
    if isinstance(coverage, bool) or not isinstance(coverage, int | float) or not 0.5 <= coverage <= 0.99:
        raise InvalidContent("coverage must be a number from 0.5 to 0.99")
    return float(coverage)


def _threshold(request: JSON) -> JSON | float | None:
    """One number for all targets, or a number a target."""
    asked = request.get("degradation_threshold")
    values = asked.values() if isinstance(asked, dict) else [] if asked is None else [asked]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise InvalidContent("degradation_threshold must be a number, or an object of targets and numbers")
    threshold: JSON | float | None = asked
    return threshold
