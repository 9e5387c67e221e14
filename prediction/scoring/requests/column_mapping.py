"""Map rows of a plant's tables to records: French or API column names, in any spelling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from prediction.records.parsing import NumberCell, TimeCell
from prediction.scoring.requests.record_validation import KNOWN_FIELDS, SCORE_FIELDS
from storage.anomaly_reports.reports import COLUMNS, SCORE_COLUMNS, parse_day_first
from storage.text.csv_headers import fold_name, match_columns
from storage.text.numbers import parse_number_text
from storage.text.table_cells import to_json

_FIELDS: Final = sorted(KNOWN_FIELDS)
_FRENCH_COLUMNS: Final = {column: field for field, column in COLUMNS.items()} | {
    column: f"{score}_score" for score, column in SCORE_COLUMNS.items()
}
_IDENTIFIERS: Final = ("anomaly_id", "equipment_id")
_DATE_COLUMN: Final = fold_name(COLUMNS["detected_at"])


def map_row(row: Mapping[str, object]) -> dict[str, object]:
    """Return one row of a table as a record of the API; unknown columns stay as they are.

    Scores in texts become numbers, also with a decimal comma; a blank one is None.
    A date is read as its file writes it, and in the plant's own column with its day first. Numbers that name a report
    or a piece of equipment become texts.
    """
    names = [str(name) for name in row]
    record: dict[str, object] = {}
    for name, field, value in zip(names, _match_fields(names), row.values(), strict=True):
        if field in SCORE_FIELDS and isinstance(value, str):
            record[field] = _parse_score(value)
        elif field == "detected_at" and isinstance(value, TimeCell):
            record[field] = value.time.isoformat(sep=" ") if value.time else value
        elif field == "detected_at" and fold_name(name) == _DATE_COLUMN and isinstance(value, str):
            record[field] = parse_day_first(value.strip()) or value
        elif field in _IDENTIFIERS and isinstance(value, int | float) and not isinstance(value, bool):
            # Workbooks and Parquet files store the number 7 where a CSV file has the text "7".
            record[field] = str(to_json(value))
        else:
            record[field] = value
    return record


def _match_fields(header: Sequence[str]) -> list[str]:
    """Return the field of each column: by the API's name, or else by the plant's."""
    api_names = match_columns(header, _FIELDS)
    fields = [_FRENCH_COLUMNS.get(name, name) for name in match_columns(api_names, [*_FRENCH_COLUMNS])]
    # Of two columns for one field the one with the API's name counts; the other keeps its own name.
    return [
        api_name if field in api_names else field for api_name, field in zip(api_names, fields, strict=True)
    ]


def _parse_score(text: str) -> float | str | None:
    """Return the number in a text, or the text itself so that validation names it."""
    if not text.strip():
        return None
    try:
        number = text.number if isinstance(text, NumberCell) else parse_number_text(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
