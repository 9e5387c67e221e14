"""Rows of a plant's tables as records: its own French column names and the API's, however they are spelt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from prediction.contract import JSON
from prediction.scoring.requests.record_validation import KNOWN_FIELDS, SCORE_FIELDS
from storage.anomaly_reports.reports import COLUMNS, SCORE_COLUMNS, parse_day_first
from storage.text.csv_headers import fold_name, match_columns

_FIELDS: Final = sorted(KNOWN_FIELDS)
_FRENCH: Final = {column: field for field, column in COLUMNS.items()} | {
    column: f"{score}_score" for score, column in SCORE_COLUMNS.items()
}
_DATE: Final = COLUMNS["detected_at"]


def map_row(row: Mapping[str, Any]) -> JSON:
    """One row of a table as a record of the API, what it does not know left as it is.

    Scores in texts become numbers, with a decimal comma, too; a blank one is None. In the plant's own column
    a date may have its day first.
    """
    names = [str(name) for name in row]
    known = _names(names)
    record: JSON = {}
    for name, field, value in zip(names, known, row.values(), strict=True):
        if field in SCORE_FIELDS and isinstance(value, str):
            record[field] = _number(value)
        elif field == "detected_at" and fold_name(name) == fold_name(_DATE) and isinstance(value, str):
            record[field] = parse_day_first(value.strip()) or value
        else:
            record[field] = value
    return record


def _names(header: Sequence[str]) -> list[str]:
    """The field of each column: under the API's name, or else under the plant's."""
    named = match_columns(header, _FIELDS)
    french = [_FRENCH.get(name, name) for name in match_columns(named, [*_FRENCH])]
    taken = set(named)
    return [name if ours in taken else ours for name, ours in zip(named, french, strict=True)]


def _number(text: str) -> float | str | None:
    """The number a text stands for; the text itself where it stands for none."""
    if not text.strip():
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return text
    return number if math.isfinite(number) else text
