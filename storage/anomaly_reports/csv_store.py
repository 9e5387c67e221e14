"""Store anomaly reports in three CSV files that belong to the plant, and their ids beside them.

The three files hold the same reports with one score each. ``anomaly_ids.csv`` names the reports that came
through Millwright, ``quarantine.csv`` the sessions whose rows no training reads.
The ids file identifies a row by the hash of its content, never by its number: the k-th last row of
that content in the CSV files is the k-th last of it among the ids.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
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

__all__ = [
    "COLUMNS",
    "FILES",
    "IDS_FILE",
    "SCORES",
    "AnomalyReports",
    "CsvStore",
    "format_stored_time",
    "hash_record",
]

FILES: Final = {
    "availability": "disponibilite.csv",
    "fiability": "fiabilite.csv",
    "process_safety": "process_safty.csv",
}
IDS_FILE: Final = "anomaly_ids.csv"
ID_COLUMNS: Final = ("anomaly_id", "record_sha256", "row_sha256", "session_id")
QUARANTINE_FILE: Final = "quarantine.csv"
UNDONE_FILE: Final = "undone_ids.csv"
UNDONE_COLUMNS: Final = ("anomaly_id", "record_sha256", "session_id")
QUARANTINE_COLUMNS: Final = ("session_id", "since")

Record = Mapping[str, Any]


class CsvStore:
    """The anomaly reports in a data folder.

    Parameters
    ----------
    data_dir : Path
        The folder; files may be absent and are then created by the first append.
    home : Path, optional
        The folder that the journal's paths are relative to, by default the one above ``data_dir``.
    staged : Path, optional
        A folder with files that will replace those in ``data_dir``: :meth:`read` prefers them.
    """

    def __init__(self, data_dir: Path, home: Path | None = None, staged: Path | None = None) -> None:
        self.data_dir = data_dir
        self._staged = staged
        self.home = home or data_dir.parent
        self._fingerprints = CsvFingerprints(data_dir / "csv_state.json", self.files())

    def files(self) -> list[Path]:
        """Return all files of the store, whether or not they exist."""
        return [self.data_dir / name for name in (*FILES.values(), IDS_FILE, QUARANTINE_FILE, UNDONE_FILE)]

    def read(self, pending: Sequence[Record] = ()) -> AnomalyReports:
        """Return every report in the order of arrival, then the pending ones.

        Of a corrected report only the newest content is returned, and nothing of quarantined sessions.

        Raises
        ------
        DataFileInvalid
            A file cannot be read; the message names file and line.
        """
        ids = [record.get("anomaly_id") for record in pending]
        cells = [_format_cells(record) for record in pending]
        return self._join().to_reports(cells, ids, self._quarantined_sessions())

    def check(self, adopt: bool = True) -> list[str]:
        """Find files that somebody changed since the last commit, and adopt them.

        Parameters
        ----------
        adopt : bool
            False only checks whether they could be adopted.

        Returns
        -------
        list of str
            A note for each changed file. Costs four ``stat`` calls where there is none.

        Raises
        ------
        DataFileInvalid
            A file cannot be adopted; the message names file and line.
        """
        self._refuse_misnamed_files()
        if not self._fingerprints.is_stale():
            return []
        self.read()
        return self._fingerprints.adopt() if adopt else []

    def note_committed(self) -> None:
        """Record the files as they are after a commit: later differences are changes by hand."""
        self._fingerprints.note_appends()

    def known_ids(self) -> dict[str, str]:
        """Return the newest ``record_sha256`` of every id."""
        table = self._read_ids()
        if table is None:
            return {}
        return dict(zip(table.column("anomaly_id"), table.column("record_sha256"), strict=True))

    def former_hashes(self) -> dict[str, set[str]]:
        """Return every ``record_sha256`` that an id ever had, superseded and undone ones included.

        A source that still holds an old score would otherwise bring it back as a correction.
        """
        hashes: defaultdict[str, set[str]] = defaultdict(set)
        for table in (self._read_ids(), read_table(self._current(UNDONE_FILE), UNDONE_COLUMNS)):
            if table is not None:
                rows = zip(table.column("anomaly_id"), table.column("record_sha256"), strict=True)
                for anomaly_id, sha256 in rows:
                    hashes[anomaly_id].add(sha256)
        return hashes

    def list_quarantined(self) -> list[tuple[int, int, str]]:
        """Return session, number of waiting records and time of each quarantined batch, oldest first.

        A record that a later session corrected does not wait any more.
        """
        marks, ids = self._read_marks(), self._read_ids()
        if marks is None or ids is None:
            return []
        newest = dict(zip(ids.column("anomaly_id"), ids.column("session_id"), strict=True))
        waiting = Counter(newest.values())
        sessions = zip(marks.column("session_id"), marks.column("since"), strict=True)
        return [(int(session), waiting[session], since) for session, since in sessions if waiting[session]]

    def plan_append(
        self, records: Sequence[Record], session_id: int, quarantined: bool = False
    ) -> list[Append]:
        """Return the journal's ``appends`` that store the records, reading only the ends of the files.

        Parameters
        ----------
        records : sequence of mapping
            Fields of ``COLUMNS``, ``anomaly_id``, the scores as ``availability_score`` …, and
            ``record_sha256`` where it was computed before defaults were filled in.

        Raises
        ------
        DataFileInvalid
            The first line of a file does not name its columns.
        """
        rows = [_format_cells(record) for record in records]
        appends = []
        for score, name in FILES.items():
            dialect = read_dialect(self.data_dir / name, _columns(score))
            appends.append(
                self._append(name, dialect, [_format_row(cells, score, dialect) for cells in rows])
            )
        ids = [
            _id_row(record, cells, session_id)
            for record, cells in zip(records, rows, strict=True)
            if record.get("anomaly_id")
        ]
        appends.append(self._append(IDS_FILE, read_dialect(self.data_dir / IDS_FILE, ID_COLUMNS), ids))
        if quarantined and ids:
            dialect = read_dialect(self.data_dir / QUARANTINE_FILE, QUARANTINE_COLUMNS)
            mark = {"session_id": str(session_id), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"}
            appends.append(self._append(QUARANTINE_FILE, dialect, [mark]))
        return appends

    def plan_release(self, session_id: int, staging: Path) -> list[Move]:
        """Stage the quarantine file without one session.

        Raises
        ------
        Conflict
            The session is not quarantined.
        """
        signature = stat_signature(self.data_dir / QUARANTINE_FILE)
        content = self._without_marks(session_id)
        if content is None:
            raise Conflict(f"No records of session {session_id} are quarantined")
        make_folders(staging)
        return [self._stage(QUARANTINE_FILE, content, staging, signature)]

    def plan_removal(self, session_id: int, staging: Path) -> list[Move]:
        """Stage the files without one session's records, every other byte unchanged.

        Returns
        -------
        list of Move
            Steps of the journal that fail if a file is edited meanwhile. ``staging`` must be below
            home.

        Raises
        ------
        Conflict
            The files hold no record of that session any more.
        """
        signatures = {file.name: stat_signature(file) for file in self.files()}
        reports, ids = self._join(), self._read_ids()
        sessions = () if ids is None else ids.column("session_id")
        id_rows = {row for row, session in enumerate(sessions) if session == str(session_id)}
        if ids is None or not id_rows:
            raise Conflict(f"No stored record belongs to session {session_id} any more: they were removed")
        contents = {IDS_FILE: ids.without(id_rows)}
        removed = [row for row, id_row in enumerate(reports.id_rows) if id_row in id_rows]
        for score, table in reports.tables.items():
            numbers = [number for row in removed if (number := reports.row_numbers[score][row]) is not None]
            contents[FILES[score]] = table.without(numbers)
        if (marks := self._without_marks(session_id)) is not None:
            contents[QUARANTINE_FILE] = marks
        contents[UNDONE_FILE] = self._with_undone(ids, id_rows)
        make_folders(staging)
        return [self._stage(name, content, staging, signatures[name]) for name, content in contents.items()]

    def _refuse_misnamed_files(self) -> None:
        """Raise DataFileInvalid for a file whose name is nearly right: it would be taken for absent."""
        missing = {score: name for score, name in FILES.items() if not (self.data_dir / name).exists()}
        if not missing or not self.data_dir.is_dir():
            return
        present = sorted(file.name for file in self.data_dir.iterdir() if file.suffix.lower() == ".csv")
        for score, name in missing.items():
            spellings = {fold_name(Path(name).stem), fold_name(score), fold_name(SCORE_COLUMNS[score])}
            for candidate in present:
                if fold_name(Path(candidate).stem) in spellings:
                    raise DataFileInvalid(f"found {candidate}; the file must be called {name}")

    def _join(self) -> JoinedReports:
        self._refuse_misnamed_files()
        tables: dict[str, CsvTable] = {}
        for score, name in FILES.items():
            like = next(iter(tables.values()), None)
            table = read_table(self._current(name), _columns(score), like)
            if table is not None:
                tables[score] = table
        ids = self._read_ids()
        if ids is None:
            return join_reports(tables, (), (), ())
        return join_reports(
            tables, ids.column("anomaly_id"), ids.column("session_id"), ids.column("row_sha256")
        )

    def _read_ids(self) -> CsvTable | None:
        return read_table(self._current(IDS_FILE), ID_COLUMNS)

    def _current(self, name: str) -> Path:
        """Return the staged file of that name, or the live one where none is staged."""
        if self._staged is not None and (self._staged / name).exists():
            return self._staged / name
        return self.data_dir / name

    def _read_marks(self) -> CsvTable | None:
        return read_table(self._current(QUARANTINE_FILE), QUARANTINE_COLUMNS)

    def _quarantined_sessions(self) -> set[str]:
        marks = self._read_marks()
        return set() if marks is None else set(marks.column("session_id"))

    def _without_marks(self, session_id: int) -> bytes | None:
        """Return the quarantine file without one session; None where the session is not in it."""
        marks = self._read_marks()
        sessions = () if marks is None else marks.column("session_id")
        rows = [row for row, session in enumerate(sessions) if session == str(session_id)]
        return marks.without(rows) if marks is not None and rows else None

    def _with_undone(self, ids: CsvTable, rows: set[int]) -> bytes:
        """Return the file of undone records with these added."""
        columns = zip(*(ids.column(name) for name in UNDONE_COLUMNS), strict=True)
        undone = [dict(zip(UNDONE_COLUMNS, cells, strict=True)) for cells in columns]
        dialect = read_dialect(self.data_dir / UNDONE_FILE, UNDONE_COLUMNS)
        added = dialect.format([undone[row] for row in sorted(rows)]).encode()
        file = self.data_dir / UNDONE_FILE
        return (file.read_bytes() if file.exists() else b"") + added

    def _stage(self, name: str, content: bytes, staging: Path, signature: FileSignature) -> Move:
        write_atomic(staging / name, content)
        return Move(self._relative(staging / name), self._relative(self.data_dir / name), signature)

    def _append(self, name: str, dialect: CsvDialect, rows: Sequence[Mapping[str, str]]) -> Append:
        return Append(self._relative(self.data_dir / name), dialect.size, dialect.format(rows))

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.home).as_posix()


def hash_record(record: Record) -> str:
    """Return the sha256 of a record's content without its id: equal for a repeat, not for a correction.

    Compute it before defaults are filled in. Blank fields count as absent, 3 as 3.0.
    """
    # The ids files of all versions hold this hash: another form would turn every repeat into a correction.
    content: dict[str, str | float] = {name: record.get(name) or "" for name in (*COLUMNS, "source")}
    for score in SCORES:
        value = record.get(f"{score}_score")
        content[f"{score}_score"] = "" if value is None else float(value)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def format_stored_time(text: str) -> str:
    """Return an instant as the CSV files hold it, ``YYYY-MM-DD HH:MM:SS`` in UTC; blank stays blank.

    A time without an offset is taken as it stands, like those in the plant's own files.

    Raises
    ------
    InvalidContent
        Neither that form nor RFC 3339.
    """
    if not text:
        return ""
    try:
        instant = datetime.fromisoformat(text.strip())
        instant = instant if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidContent(f"{text!r} is not a date like 2024-12-05T14:30:22Z") from error
    return instant.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def _columns(score: str) -> tuple[str, ...]:
    return (*COLUMNS.values(), SCORE_COLUMNS[score])


def _format_cells(record: Record) -> dict[str, str]:
    """Return a record as the texts that the files hold, by field; scores under their own name."""
    cells = {name: str(record.get(name) or "") for name in COLUMNS}
    cells["detected_at"] = format_stored_time(cells["detected_at"])
    return cells | {score: format_score(record.get(f"{score}_score")) for score in SCORES}


def _format_row(cells: Mapping[str, str], score: str, dialect: CsvDialect) -> dict[str, str]:
    """Return cells by column, dates and decimals written as in the rest of the file."""
    # A file with semicolons comes from an Excel whose decimals have commas.
    value = cells[score].replace(".", ",") if dialect.delimiter == ";" else cells[score]
    row = {column: cells[name] for name, column in COLUMNS.items()} | {SCORE_COLUMNS[score]: value}
    date = COLUMNS["detected_at"]
    return row | {date: format_date_like(dialect.example.get(date, ""), row[date])}


def _id_row(record: Record, cells: Mapping[str, str], session_id: int) -> dict[str, str]:
    return {
        "anomaly_id": str(record["anomaly_id"]),
        "record_sha256": str(record.get("record_sha256") or hash_record(record)),
        "row_sha256": hash_row([cells[name] for name in (*COLUMNS, *SCORES)]),
        "session_id": str(session_id),
    }
