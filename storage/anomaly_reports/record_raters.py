"""Who scored each record and where it comes from, in a file beside the plant's own.

A session and an anomaly id name one stored content of a record, whatever happens to its row in the CSV files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from storage.anomaly_reports.csv_table import read_table

RATERS_FILE: Final = "anomaly_raters.csv"
RATER_COLUMNS: Final = ("session_id", "anomaly_id", "rater", "source")

# Session and anomaly id, as the files hold them.
RecordKey = tuple[str, str]


class RecordOrigin(NamedTuple):
    """Who scored a record, and the system or document it comes from; blank where nobody has said."""

    rater: str = ""
    source: str = ""


UNKNOWN_ORIGIN: Final = RecordOrigin()


def fold_name(name: str) -> str:
    """Return a name without what differs between two spellings of it: case and blanks."""
    return " ".join(name.casefold().split())


def read_origins(file: Path) -> dict[RecordKey, RecordOrigin]:
    """Return the origin of each record that has one.

    Raises
    ------
    DataFileInvalid
        The file cannot be read.
    """
    table = read_table(file, RATER_COLUMNS)
    if table is None:
        return {}
    sessions, ids, raters, sources = map(table.column, RATER_COLUMNS)
    return dict(zip(zip(sessions, ids, strict=True), map(RecordOrigin, raters, sources), strict=True))


def format_origins(records: Sequence[Mapping[str, object]], session_id: int) -> list[dict[str, str]]:
    """Return a row for each record with an id and a rater or a source."""
    return [
        {
            "session_id": str(session_id),
            "anomaly_id": str(record["anomaly_id"]),
            "rater": str(record.get("rater") or ""),
            "source": str(record.get("source") or ""),
        }
        for record in records
        if record.get("anomaly_id") and (record.get("rater") or record.get("source"))
    ]


def remove_origins(file: Path, keys: Collection[RecordKey]) -> bytes | None:
    """Return the content of the file without some records; None where it has none of them."""
    table = read_table(file, RATER_COLUMNS)
    if table is None:
        return None
    present = zip(table.column("session_id"), table.column("anomaly_id"), strict=True)
    rows = [row for row, key in enumerate(present) if key in keys]
    return table.without(rows) if rows else None
