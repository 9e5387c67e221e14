"""Store anomaly reports in three CSV files that belong to the plant, and their ids beside them.

The three files hold the same reports with one score each. ``anomaly_ids.csv`` names the reports that came
through Millwright, ``quarantine.csv`` the sessions whose rows no training reads, ``anomaly_raters.csv`` who
scored the reports.
The ids file identifies a row by the hash of its content, never by its number: the k-th last row of
that content in the CSV files is the k-th last of it among the ids.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from errors import Conflict, DataFileInvalid, InvalidContent
from storage.anomaly_reports.csv_dialect import CsvDialect, format_line, read_dialect
from storage.anomaly_reports.csv_fingerprints import CsvFingerprints, describe_missing
from storage.anomaly_reports.csv_table import CsvTable, read_table
from storage.anomaly_reports.lenient_rows import add_lenient_hash, has_lenient_hash, hash_both
from storage.anomaly_reports.record_raters import (
    RATER_COLUMNS,
    RATERS_FILE,
    format_origins,
    read_origins,
    remove_origins,
)
from storage.anomaly_reports.reports import (
    COLUMNS,
    SCORE_COLUMNS,
    SCORES,
    AnomalyReports,
    JoinedReports,
    format_date_like,
    format_score,
    join_reports,
)
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.files import FileSignature, make_folders, stat_signature
from storage.journal_steps import Append, DataChanges, Move
from storage.text.csv_headers import fold_name
from storage.times import parse_instant

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
MAX_LISTED_IDS: Final = 5
QUARANTINE_FILE: Final = "quarantine.csv"
UNDONE_FILE: Final = "undone_ids.csv"
UNDONE_COLUMNS: Final = ("anomaly_id", "record_sha256", "session_id")
QUARANTINE_COLUMNS: Final = ("session_id", "since")

Record = Mapping[str, Any]


class RecordHashes(NamedTuple):
    """The ``record_sha256`` of each id: of what is stored now, and all of them with superseded and undone ones.

    A source that still holds an old score would otherwise bring it back as a correction.
    """

    newest: dict[str, str]
    all: dict[str, set[str]]


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
        own = (IDS_FILE, QUARANTINE_FILE, UNDONE_FILE, RATERS_FILE)
        return [self.data_dir / name for name in (*FILES.values(), *own)]

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

    def read_with_quarantined(
        self, pending: Sequence[Record] = ()
    ) -> tuple[AnomalyReports, AnomalyReports | None]:
        """Return what `read` returns, and apart from it the reports that wait in quarantine.

        The latter are evidence of what was held back; nothing may be fitted to them.
        """
        ids = [record.get("anomaly_id") for record in pending]
        cells = [_format_cells(record) for record in pending]
        joined, sessions = self._join(), self._quarantined_sessions()
        waiting = joined.to_quarantined_reports(sessions) if sessions else None
        return joined.to_reports(cells, ids, sessions), waiting

    def check(self, adopt: bool = True) -> list[str]:
        """Find files that somebody changed since the last commit, and adopt them.

        Parameters
        ----------
        adopt : bool
            False only checks whether they could be adopted.

        Returns
        -------
        list of str
            A note for each changed file; four ``stat`` calls where there is none. Without adoption, on missing files.

        Raises
        ------
        DataFileInvalid
            A file cannot be adopted; the message names file and line.
        """
        self._refuse_misnamed_files()
        reports = self._join() if self._fingerprints.is_stale() else None
        if reports is None or not adopt:
            return [] if adopt else describe_missing(self.files(), FILES.values())
        notes = self._fingerprints.adopt()
        if notes and (missing := len(reports.unrecognized())):
            notes.append(
                f"{missing} of {len(reports.ids)} records that came through Millwright are not recognised in the "
                "CSV files any more: an undo cannot take them out, and a correction of them is stored beside them"
            )
        return notes

    def note_committed(self, paths: Collection[str] | None = None) -> None:
        """Record the files as they are after a commit: later differences are changes by hand.

        ``paths``, relative to home, are what the commit has changed; by default all files.
        """
        changed = [file for file in self.files() if paths is None or self._relative(file) in paths]
        self._fingerprints.note_appends({file.name for file in changed})

    def record_hashes(self) -> RecordHashes:
        """Return the hashes of the records that have an id."""
        hashes, ids = RecordHashes({}, defaultdict(set)), self._read_ids()
        for table in (ids, read_table(self._current(UNDONE_FILE), UNDONE_COLUMNS)):
            if table is not None:
                rows = zip(table.column("anomaly_id"), table.column("record_sha256"), strict=True)
                for anomaly_id, sha256 in rows:
                    hashes.all[anomaly_id].add(sha256)
                    if table is ids:
                        hashes.newest[anomaly_id] = sha256
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
            Fields of ``COLUMNS``, ``anomaly_id``, the scores as ``availability_score`` …, ``rater`` and
            ``source`` where they are known, and ``record_sha256`` where it was computed before defaults were
            filled in.

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
        if origins := format_origins(records, session_id):
            dialect = read_dialect(self.data_dir / RATERS_FILE, RATER_COLUMNS)
            appends.append(self._append(RATERS_FILE, dialect, origins))
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

    def plan_removal(self, session_id: int, staging: Path) -> DataChanges:
        """Stage the files without one session's records, every other byte unchanged.

        Records that are not recognised any more stay, in the files and among the ids.

        Returns
        -------
        DataChanges
            Steps of the journal that fail if a file is edited meanwhile. ``staging`` must be below
            home. The notes say how many records could not be taken out.

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
        missing = id_rows & reports.unrecognized()
        if missing == id_rows:
            raise Conflict(
                f"None of the {len(id_rows)} records of session {session_id} is recognised in the CSV files any "
                "more, so nothing was taken out: the rows were edited or removed. Remove them from "
                f"{', '.join(FILES.values())} by hand, or restore the backup of before that session"
            )
        names = [ids.column("anomaly_id")[row] for row in sorted(missing)]
        note = (
            f"{len(missing)} of the {len(id_rows)} records of session {session_id} are not recognised in the CSV "
            f"files any more and were not taken out (anomaly_id {list_ids(names)}); remove their rows by "
            "hand if they are still there"
        )
        notes = (note,) if missing else ()
        id_rows -= missing
        contents = {IDS_FILE: ids.without(id_rows)}
        removed = [row for row, id_row in enumerate(reports.id_rows) if id_row in id_rows]
        for score, table in reports.tables.items():
            numbers = [number for row in removed if (number := reports.row_numbers[score][row]) is not None]
            contents[FILES[score]] = table.without(numbers)
        # What stays in the files stays in quarantine.
        if not missing and (marks := self._without_marks(session_id)) is not None:
            contents[QUARANTINE_FILE] = marks
        contents[UNDONE_FILE] = self._with_undone(ids, id_rows)
        keys = {(str(session_id), ids.column("anomaly_id")[row]) for row in id_rows}
        if (origins := remove_origins(self._current(RATERS_FILE), keys)) is not None:
            contents[RATERS_FILE] = origins
        make_folders(staging)
        moves = [self._stage(name, content, staging, signatures[name]) for name, content in contents.items()]
        return DataChanges(moves=moves, notes=notes)

    def needs_upgrade(self) -> bool:
        """Return whether the oldest row of the ids file is one of version 0.1."""
        oldest = read_dialect(self.data_dir / IDS_FILE, ID_COLUMNS).example.get("row_sha256")
        return oldest is not None and not has_lenient_hash(oldest)

    def plan_upgrade(self, staging: Path) -> list[Move]:
        """Stage the ids file of version 0.1 with the lenient hashes that undo needs once a spreadsheet has saved.

        They can be told while the files are as Millwright left them.
        """
        signature, ids = stat_signature(self.data_dir / IDS_FILE), self._read_ids()
        if ids is None:
            return []
        lenient = self._join().lenient_hashes()
        rows = [dict(zip(ids.header, cells, strict=True)) for cells in zip(*ids.columns, strict=True)]
        for number, row in enumerate(rows):
            row["row_sha256"] = add_lenient_hash(row["row_sha256"], lenient.get(number, ""))
        dialect = read_dialect(self.data_dir / IDS_FILE, ID_COLUMNS)
        content = format_line(dialect.header, dialect.line_end, dialect.delimiter) + dialect.format(rows)
        make_folders(staging)
        return [self._stage(IDS_FILE, content.encode(), staging, signature)]

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
            return join_reports(tables, (), (), (), {})
        return join_reports(
            tables,
            ids.column("anomaly_id"),
            ids.column("session_id"),
            ids.column("row_sha256"),
            read_origins(self._current(RATERS_FILE)),
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
    # Only where there is one, so that the hashes of earlier versions hold.
    if record.get("rater"):
        content["rater"] = record["rater"]
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
        instant = parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise InvalidContent(f"{text!r} is not a date like 2024-12-05T14:30:22Z") from error
    return instant.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def _columns(score: str) -> tuple[str, ...]:
    return (*COLUMNS.values(), SCORE_COLUMNS[score])


def _format_cells(record: Record) -> dict[str, str]:
    """Return a record as the texts that the files hold, by field; scores under their own name."""
    cells = {name: str(record.get(name) or "") for name in COLUMNS}
    cells["detected_at"] = format_stored_time(cells["detected_at"])
    cells |= {name: str(record.get(name) or "") for name in ("rater", "source")}
    return cells | {score: format_score(record.get(f"{score}_score")) for score in SCORES}


def _format_row(cells: Mapping[str, str], score: str, dialect: CsvDialect) -> dict[str, str]:
    """Return cells by column, dates and decimals written as in the rest of the file."""
    # A file with semicolons comes from an Excel whose decimals have commas.
    value = cells[score].replace(".", ",") if dialect.delimiter == ";" else cells[score]
    row = {column: cells[name] for name, column in COLUMNS.items()} | {SCORE_COLUMNS[score]: value}
    date = COLUMNS["detected_at"]
    return row | {date: format_date_like(dialect.example.get(date, ""), row[date], dialect.delimiter)}


def _id_row(record: Record, cells: Mapping[str, str], session_id: int) -> dict[str, str]:
    return {
        "anomaly_id": str(record["anomaly_id"]),
        "record_sha256": str(record.get("record_sha256") or hash_record(record)),
        "row_sha256": hash_both([cells[name] for name in (*COLUMNS, *SCORES)]),
        "session_id": str(session_id),
    }


def list_ids(ids: Sequence[str]) -> str:
    """Return the first ids as one text, with … where there are more."""
    return ", ".join(ids[:MAX_LISTED_IDS]) + (" …" if len(ids) > MAX_LISTED_IDS else "")
