"""The scoring family's training data: three CSV files that belong to the plant, and the ids beside them.

The three files hold the same reports with one score each. ``anomaly_ids.csv`` names the reports that came
through Millwright. It knows a row by the hash of its content, never by its number: the k-th last row of that
content in the CSV files is the k-th last of it among the ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from errors import Conflict, DataFileInvalid, InvalidContent
from storage.anomaly_reports.csv_dialect import CsvDialect, read_dialect
from storage.anomaly_reports.csv_fingerprints import CsvFingerprints
from storage.anomaly_reports.csv_table import CsvTable, read_table
from storage.anomaly_reports.reports import (
    COLUMNS,
    SCORE_COLUMNS,
    SCORES,
    AnomalyReports,
    JoinedReports,
    format_date_like,
    format_score,
    hash_row,
    join_reports,
)
from storage.filesystem.files import FileSignature, make_folders, stat_signature, write_atomic
from storage.journal_steps import Append, Move
from storage.text.csv_headers import fold_name

__all__ = ["COLUMNS", "SCORES", "AnomalyReports", "CsvStore", "format_stored_date", "record_sha256"]

FILES: Final = {
    "availability": "disponibilite.csv",
    "fiability": "fiabilite.csv",
    "process_safety": "process_safty.csv",
}
IDS_FILE: Final = "anomaly_ids.csv"
ID_COLUMNS: Final = ("anomaly_id", "record_sha256", "row_sha256", "session_id")
_CONTENT: Final = (*COLUMNS, "source", *(f"{score}_score" for score in SCORES))


class CsvStore:
    """The scoring family's files in a data folder.

    Parameters
    ----------
    data_dir : Path
        The folder; files may be absent and are then created by the first append.
    home : Path, optional
        What the journal's paths are relative to; the folder above ``data_dir`` unless told.
    """

    def __init__(self, data_dir: Path, home: Path | None = None) -> None:
        self.data_dir = data_dir
        self.home = home or data_dir.parent
        self._state = CsvFingerprints(data_dir / "csv_state.json", self.files())

    def files(self) -> list[Path]:
        """All files of the family, whether or not they exist."""
        return [self.data_dir / name for name in (*FILES.values(), IDS_FILE)]

    def read(self, pending: Sequence[Mapping[str, Any]] = ()) -> AnomalyReports:
        """Every report in the order of arrival, then the pending ones.

        A report that was corrected is left out: only the newest content of an id is there.

        Raises
        ------
        DataFileInvalid
            A file cannot be read; the message names file and line.
        """
        rows = self._rows()
        return rows.reports([_cells(record) for record in pending], [r.get("anomaly_id") for r in pending])

    def check(self, adopt: bool = True) -> list[str]:
        """Notice files that somebody changed since the last commit, and adopt them.

        Parameters
        ----------
        adopt : bool
            False only looks whether they could be adopted.

        Returns
        -------
        list of str
            A note for each such file; costs four ``stat`` calls where there is none.

        Raises
        ------
        DataFileInvalid
            One of them cannot be adopted; the message names file and line.
        """
        self._refuse_misnamed()
        if not self._state.is_stale():
            return []
        self.read()
        return self._state.adopt() if adopt else []

    def note_committed(self) -> None:
        """Remember the files as they are now: what differs from this later was changed by hand."""
        self._state.adopt()

    def known_ids(self) -> dict[str, str]:
        """The newest ``record_sha256`` of every id."""
        table = self._ids()
        if table is None:
            return {}
        return dict(zip(table.column("anomaly_id"), table.column("record_sha256"), strict=True))

    def appends(self, records: Sequence[Mapping[str, Any]], session_id: int) -> list[Append]:
        """What the journal has to append for these records; reads no more than the files' ends.

        Parameters
        ----------
        records : sequence of mapping
            Fields of ``COLUMNS``, ``anomaly_id``, the scores as ``availability_score`` …, and
            ``record_sha256`` where it was taken before defaults were filled in.

        Raises
        ------
        DataFileInvalid
            The first line of a file does not name its columns.
        """
        rows = [_cells(record) for record in records]
        appends = []
        for score, name in FILES.items():
            manner = read_dialect(self.data_dir / name, _columns(score))
            stored = [_stored(row, score, manner) for row in rows]
            appends.append(self._append(name, manner, manner.text(stored)))
        manner = read_dialect(self.data_dir / IDS_FILE, ID_COLUMNS)
        ids = [
            _id_row(record, row, session_id)
            for record, row in zip(records, rows, strict=True)
            if record.get("anomaly_id")
        ]
        return [*appends, self._append(IDS_FILE, manner, manner.text(ids))]

    def removal(self, session_id: int, staging: Path) -> list[Move]:
        """Stage the four files without one session's records, every other byte as it was.

        Returns
        -------
        list of dict
            The journal's ``moves``, refused there where a file is edited meanwhile. ``staging`` must be
            below home.

        Raises
        ------
        Conflict
            The files hold no record of that session any more.
        """
        signs = {file.name: stat_signature(file) for file in self.files()}
        rows, ids = self._rows(), self._ids()
        sessions = () if ids is None else ids.column("session_id")
        mine = {number for number, session in enumerate(sessions) if session == str(session_id)}
        if ids is None or not mine:
            raise Conflict(f"No stored record belongs to session {session_id} any more: they were taken out")
        left = {IDS_FILE: ids.without(mine)}
        removed = [row for row, owner in enumerate(rows.owners) if owner in mine]
        for score, table in rows.tables.items():
            places = [place for row in removed if (place := rows.places[score][row]) is not None]
            left[FILES[score]] = table.without(places)
        return [self._staged(name, data, staging, signs[name]) for name, data in left.items()]

    def _refuse_misnamed(self) -> None:
        """Name a file that is meant to be one of ours, but would be taken for none."""
        missing = {score: name for score, name in FILES.items() if not (self.data_dir / name).exists()}
        if not missing or not self.data_dir.is_dir():
            return
        found = sorted(file.name for file in self.data_dir.iterdir() if file.suffix.lower() == ".csv")
        for score, name in missing.items():
            meant = {fold_name(Path(name).stem), fold_name(score), fold_name(SCORE_COLUMNS[score])}
            for other in found:
                if fold_name(Path(other).stem) in meant:
                    raise DataFileInvalid(f"found {other}; the file must be called {name}")

    def _rows(self) -> JoinedReports:
        self._refuse_misnamed()
        tables: dict[str, CsvTable] = {}
        for score, name in FILES.items():
            like = next(iter(tables.values()), None)
            table = read_table(self.data_dir / name, _columns(score), like)
            if table is not None:
                tables[score] = table
        ids = self._ids()
        names, hashes = ((), ()) if ids is None else (ids.column("anomaly_id"), ids.column("row_sha256"))
        return join_reports(tables, names, hashes)

    def _ids(self) -> CsvTable | None:
        return read_table(self.data_dir / IDS_FILE, ID_COLUMNS)

    def _append(self, name: str, manner: CsvDialect, text: str) -> Append:
        return Append(self._below_home(self.data_dir / name), manner.size, text)

    def _staged(self, name: str, data: bytes, staging: Path, signature: FileSignature) -> Move:
        make_folders(staging)
        write_atomic(staging / name, data)
        return Move(self._below_home(staging / name), self._below_home(self.data_dir / name), signature)

    def _below_home(self, file: Path) -> str:
        return file.relative_to(self.home).as_posix()


def record_sha256(record: Mapping[str, Any]) -> str:
    """The content of a record as it was sent, without its id: tells a repeat from a correction.

    Take it before defaults are filled in. Blank fields count as absent, 3.0 as 3.
    """
    content = {name: record[name] for name in _CONTENT if record.get(name) not in (None, "")}
    plain = {name: format_score(v) if isinstance(v, int | float) else v for name, v in content.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode("utf-8")).hexdigest()


def format_stored_date(text: str) -> str:
    """An instant as the CSV files hold it, ``YYYY-MM-DD HH:MM:SS`` in UTC; blank stays blank.

    Raises
    ------
    InvalidContent
        Neither that form nor RFC 3339.
    """
    if not text:
        return ""
    try:
        instant = datetime.fromisoformat(text)
        instant = instant if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidContent(f"{text!r} is not a date like 2024-12-05T14:30:22Z") from error
    return instant.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def _columns(score: str) -> tuple[str, ...]:
    return (*COLUMNS.values(), SCORE_COLUMNS[score])


def _cells(record: Mapping[str, Any]) -> dict[str, str]:
    """A record as the texts the files hold, by field name; scores under their own name."""
    cells = {name: str(record.get(name) or "") for name in COLUMNS}
    cells["detected_at"] = format_stored_date(cells["detected_at"])
    return cells | {score: format_score(record.get(f"{score}_score")) for score in SCORES}


def _stored(cells: Mapping[str, str], score: str, manner: CsvDialect) -> dict[str, str]:
    """Cells by column, with dates and decimal commas as the file has them (semicolons come with commas)."""
    value = cells[score].replace(".", ",") if manner.delimiter == ";" else cells[score]
    stored = {column: cells[name] for name, column in COLUMNS.items()} | {SCORE_COLUMNS[score]: value}
    date = COLUMNS["detected_at"]
    return stored | {date: format_date_like(manner.example.get(date, ""), stored[date])}


def _id_row(record: Mapping[str, Any], cells: Mapping[str, str], session_id: int) -> dict[str, str]:
    return {
        "anomaly_id": str(record["anomaly_id"]),
        "record_sha256": str(record.get("record_sha256") or record_sha256(record)),
        "row_sha256": hash_row([cells[name] for name in (*COLUMNS, *SCORES)]),
        "session_id": str(session_id),
    }
