"""Join the three CSV files and the ids beside them to anomaly reports in columns."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from typing import Final

from errors import DataFileInvalid
from storage.anomaly_reports.csv_table import CsvTable
from storage.anomaly_reports.lenient_rows import hash_leniently, match_ids, merge_saved_rows
from storage.anomaly_reports.record_raters import UNKNOWN_ORIGIN, RecordKey, RecordOrigin
from storage.text.dates import AmbiguousDate, DateOrder, find_date_order, parse_local_time

SCORES: Final = ("availability", "fiability", "process_safety")
# Field of a record → column of the CSV files, in their order.
COLUMNS: Final = {
    "equipment_id": "Num_equipement",
    "system": "Systeme",
    "description": "Description",
    "detected_at": "Date de détéction de l'anomalie",
    "equipment_name": "Description de l'équipement",
    "owner_section": "Section propriétaire",
}
_DATE_COLUMN: Final = [*COLUMNS].index("detected_at")
SCORE_COLUMNS: Final = {
    "availability": "Disponibilté",
    "fiability": "Fiabilité Intégrité",
    "process_safety": "Process Safety",
}
_MAX_EXCERPT_LENGTH: Final = 60
DAY_FIRST: Final = "%d/%m/%Y %H:%M:%S"
_ISO_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?)?", re.ASCII)
_FULL_YEAR: Final = re.compile(r"\d{4}", re.ASCII)
_DAY_FIRST_DATE: Final = re.compile(r"\d{1,2}([/.])\d{1,2}\1\d{4}(?: +\d{1,2}:\d\d(?::\d\d)?)?", re.ASCII)

Scores = list[float | None]
RowNumbers = Sequence[int | None]


@dataclass(frozen=True)
class AnomalyReports:
    """Anomaly reports, one list a column, in the order of arrival.

    Parameters
    ----------
    equipment_id, system, description, detected_at, equipment_name, owner_section : list of str
        As stored; ``detected_at`` is ``YYYY-MM-DD HH:MM:SS`` in UTC where Millwright wrote it.
    scores : dict of str to list
        1 to 5 for each of ``SCORES``; None where a file lacks that report.
    anomaly_ids : list of str or None
        None for rows that did not come through Millwright.
    session_ids : list of int or None
        The session that brought each row; None for pending rows and those of the plant.
    is_new : list of bool
        Whether the row is pending.
    raters, sources : list of str
        Who scored each row, and where it comes from; blank where nobody has said. Without any row where it is
        known of none.
    """

    equipment_id: list[str]
    system: list[str]
    description: list[str]
    detected_at: list[str]
    equipment_name: list[str]
    owner_section: list[str]
    scores: dict[str, Scores]
    anomaly_ids: list[str | None]
    session_ids: list[int | None]
    is_new: list[bool]
    raters: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.description)

    def excerpt(self, row: int) -> str:
        """Return the description of a report, shortened to what a sentence can quote."""
        text = self.description[row]
        return text if len(text) <= _MAX_EXCERPT_LENGTH else text[: _MAX_EXCERPT_LENGTH - 1] + "…"


@dataclass(frozen=True)
class JoinedReports:
    """The rows of the three files side by side.

    Parameters
    ----------
    tables : dict
        The parsed file of each score that has one.
    columns : list of sequence of str
        The cells of each of ``COLUMNS``.
    values : dict
        The scores of each row, by score.
    row_numbers : dict
        Which record of its file each row is, by score; None where the file lacks it.
    ids, sessions : sequence of str
        The anomaly id and the session of each row of the ids file.
    id_rows : sequence
        Which row of the ids file names each row; None where none does.
    origins : mapping
        Rater and source of the records that have one.
    """

    tables: dict[str, CsvTable]
    columns: list[Sequence[str]]
    values: dict[str, Scores]
    row_numbers: dict[str, RowNumbers]
    ids: Sequence[str]
    sessions: Sequence[str]
    id_rows: RowNumbers
    origins: Mapping[RecordKey, RecordOrigin]

    def unrecognized(self) -> set[int]:
        """Return the rows of the ids file whose report is in none of the files any more."""
        return set(range(len(self.ids))) - set(self.id_rows)

    def lenient_hashes(self) -> dict[int, str]:
        """Return the lenient hash of the report that each row of the ids file names."""
        cells = _hashed_cells(self.columns, self.values)
        return {
            row: hash_leniently(cells[number]) for number, row in enumerate(self.id_rows) if row is not None
        }

    def to_reports(
        self,
        pending: Sequence[Mapping[str, str]] = (),
        pending_ids: Sequence[str | None] = (),
        quarantined: Collection[str] = (),
    ) -> AnomalyReports:
        """Return the newest content of each report, then the pending ones, which replace equal ids.

        Rows of quarantined sessions are left out: what an earlier session said of their ids counts again.
        """
        trusted = (row for row in self.id_rows if row is not None and self.sessions[row] not in quarantined)
        newest = {self.ids[row]: row for row in sorted(trusted)}
        replaced = {name for name in pending_ids if name}
        current = {row for name, row in newest.items() if name not in replaced}
        mask = [row is None or row in current for row in self.id_rows]
        columns = {
            name: [*compress(column, mask), *(cells[name] for cells in pending)]
            for name, column in zip(COLUMNS, self.columns, strict=True)
        }
        scores = {
            score: [*compress(self.values[score], mask), *(parse_score(cells[score]) for cells in pending)]
            for score in SCORES
        }
        id_rows = [*compress(self.id_rows, mask)]
        ids = [None if row is None else self.ids[row] for row in id_rows]
        sessions = [None if row is None else _parse_session(self.sessions[row]) for row in id_rows]
        origins = [self._origin(row) for row in id_rows]
        is_new = [False] * len(ids) + [True] * len(pending)
        ids += [name or None for name in pending_ids]
        sessions += [None] * len(pending)
        origins += [RecordOrigin(cells["rater"], cells["source"]) for cells in pending]
        return AnomalyReports(
            **columns,
            scores=scores,
            anomaly_ids=ids,
            session_ids=sessions,
            is_new=is_new,
            raters=[origin.rater for origin in origins],
            sources=[origin.source for origin in origins],
        )

    def to_quarantined_reports(self, quarantined: Collection[str]) -> AnomalyReports:
        """Return the reports that wait in quarantine; those that a later session corrected do not wait."""
        newest = {self.ids[row]: row for row in sorted(row for row in self.id_rows if row is not None)}
        current = {row for row in newest.values() if self.sessions[row] in quarantined}
        mask = [row in current for row in self.id_rows]
        id_rows = [row for row in self.id_rows if row is not None and row in current]
        columns = {
            name: [*compress(column, mask)] for name, column in zip(COLUMNS, self.columns, strict=True)
        }
        return AnomalyReports(
            **columns,
            scores={score: [*compress(self.values[score], mask)] for score in SCORES},
            anomaly_ids=[self.ids[row] for row in id_rows],
            session_ids=[_parse_session(self.sessions[row]) for row in id_rows],
            is_new=[False] * len(id_rows),
            raters=[self._origin(row).rater for row in id_rows],
            sources=[self._origin(row).source for row in id_rows],
        )

    def _origin(self, row: int | None) -> RecordOrigin:
        """Return rater and source of a row of the ids file."""
        key = None if row is None else (self.sessions[row], self.ids[row])
        return UNKNOWN_ORIGIN if key is None else self.origins.get(key, UNKNOWN_ORIGIN)


def join_reports(
    tables: dict[str, CsvTable],
    ids: Sequence[str],
    sessions: Sequence[str],
    row_hashes: Sequence[str],
    origins: Mapping[RecordKey, RecordOrigin],
) -> JoinedReports:
    """Join the files by content, and match the rows to their ids.

    Rows belong together when they agree in all of ``COLUMNS``; the k-th of several equal ones with the k-th.

    Parameters
    ----------
    ids, sessions, row_hashes : sequence of str
        The ids file: anomaly ids, their sessions, and the hash of the row that each names.
    origins : mapping
        Rater and source of the records that have one.

    Raises
    ------
    DataFileInvalid
        A score or date cannot be read; the message names file and line.
    """
    cells_of = {score: [table.column(name) for name in COLUMNS.values()] for score, table in tables.items()}
    normalized: dict[int, tuple[str, ...]] = {}
    for score, cells in cells_of.items():
        column = id(cells[_DATE_COLUMN])  # files that are alike share their columns: convert them once
        if column not in normalized:
            normalized[column] = _normalize_dates(tables[score], cells[_DATE_COLUMN])
        cells[_DATE_COLUMN] = normalized[column]
    columns, row_numbers = _match_rows(cells_of)
    values: dict[str, Scores] = {}
    for score in SCORES:
        row_numbers.setdefault(score, [None] * len(columns[0]))
        stored = _parse_scores(tables[score], SCORE_COLUMNS[score]) if score in tables else []
        numbers = row_numbers[score]
        values[score] = (
            stored
            if isinstance(numbers, range)
            else [None if number is None else stored[number] for number in numbers]
        )
    id_rows = (
        match_ids(_hashed_cells(columns, values), row_hashes) if row_hashes else [None] * len(columns[0])
    )
    return JoinedReports(tables, columns, values, row_numbers, ids, sessions, id_rows, origins)


def _match_rows(
    cells_of: Mapping[str, list[tuple[str, ...]]],
) -> tuple[list[Sequence[str]], dict[str, RowNumbers]]:
    """Return the distinct rows of all files as columns, and by score the number of each row in its file."""
    first = next(iter(cells_of.values()), [()] * len(COLUMNS))
    if all(columns == first for columns in cells_of.values()):
        return [*first], {score: range(len(first[0])) for score in cells_of}
    index: dict[tuple[tuple[str, ...], int], int] = {}
    numbers: dict[str, dict[int, int]] = {}
    for score, columns in cells_of.items():
        occurrences: Counter[tuple[str, ...]] = Counter()
        numbers[score] = {}
        for number, row in enumerate(zip(*columns, strict=True)):
            occurrences[row] += 1
            numbers[score][index.setdefault((row, occurrences[row]), len(index))] = number
    distinct = [row for row, _ in index]
    kept = _merge_saved_rows(distinct, numbers)
    joined: list[Sequence[str]] = [*zip(*(distinct[row] for row in kept), strict=True)]
    return joined, {score: [rows.get(row) for row in kept] for score, rows in numbers.items()}


def _merge_saved_rows(rows: list[tuple[str, ...]], numbers: dict[str, dict[int, int]]) -> list[int]:
    """Join rows that a spreadsheet has changed in some of the files; return the rows that remain."""
    incomplete = [row for row in range(len(rows)) if any(row not in found for found in numbers.values())]
    files = [[score for score, found in numbers.items() if row in found] for row in incomplete]
    first = merge_saved_rows([rows[row] for row in incomplete], files)
    merged = {incomplete[n]: incomplete[target] for n, target in enumerate(first) if target != n}
    for row, target in merged.items():
        for found in numbers.values():
            if row in found:
                found[target] = found.pop(row)
    return [row for row in range(len(rows)) if row not in merged]


def _parse_scores(table: CsvTable, column: str) -> Scores:
    texts = table.column(column)
    parsed: dict[str, float | None] = {}
    invalid: set[str] = set()
    # Each distinct text is parsed once: a file has a handful of them in thousands of rows.
    for text in set(texts):
        try:
            parsed[text] = parse_score(text.replace(",", ".") if table.is_excel_style else text)
        except ValueError:
            invalid.add(text)
    _refuse(table, texts, invalid, f"{column} is {{}} instead of a number from 1 to 5")
    return [parsed[text] for text in texts]


def _normalize_dates(table: CsvTable, dates: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dates as Millwright writes them; the same tuple where they are so already."""
    unusual = {text for text in set(dates) if not _ISO_DATE.fullmatch(text)}
    # An Excel that separates by commas may write the month first: only other dates of the file show which.
    order = "day" if table.is_excel_style else find_date_order(unusual)
    parsed, ambiguous = dict[str, str | None](), set[str]()
    for text in unusual:
        try:
            parsed[text] = _to_iso(text, order)
        except AmbiguousDate:
            ambiguous.add(text)
    _refuse(
        table,
        dates,
        ambiguous,
        "{} may be two days; write 2024-12-05, or separate cells by semicolons (day first)",
    )
    example = "2024-12-05 14:30:22" + (" or 05/12/2024 14:30 (day first)" if table.is_excel_style else "")
    invalid = {text for text in unusual if parsed.get(text) is None}
    _refuse(table, dates, invalid, f"{{}} is not a date like {example}")
    return tuple(parsed.get(text) or text for text in dates) if unusual else dates


def parse_day_first(text: str) -> str | None:
    """Return a date like ``05/12/2024 14:30`` as ``YYYY-MM-DD HH:MM:SS``; None where it is none."""
    return _to_iso(text, "day") if _DAY_FIRST_DATE.fullmatch(text) else None


def _to_iso(text: str, order: DateOrder | None) -> str | None:
    time = parse_local_time(text, order) if _FULL_YEAR.search(text) else None
    if time is None:
        return None
    return time.isoformat(sep=" ") if ":" in text else time.date().isoformat()


def format_date_like(example: str, iso: str, delimiter: str) -> str:
    """Return an ISO date in the format of an example: day first where the example is."""
    match = _DAY_FIRST_DATE.fullmatch(example)
    # Only where Excel separates by semicolons is the day sure to come first before slashes.
    if not iso or match is None or (match[1] == "/" and delimiter != ";"):
        return iso
    return datetime.fromisoformat(iso).strftime(DAY_FIRST.replace("/", match[1]))


def _refuse(table: CsvTable, cells: Sequence[str], invalid: Collection[str], template: str) -> None:
    """Raise DataFileInvalid with the first line that holds an invalid cell."""
    if invalid:
        row = next(row for row, cell in enumerate(cells) if cell in invalid)
        problem = template.format(repr(cells[row][:40]))
        raise DataFileInvalid(f"{table.file.name}, line {table.line(row)}: {problem}")


def _hashed_cells(columns: list[Sequence[str]], values: Mapping[str, Scores]) -> list[tuple[str, ...]]:
    """Return the cells of each row that its identity is made of."""
    texts = {value: format_score(value) for column in values.values() for value in set(column)}
    scores = [[texts[value] for value in values[score]] for score in SCORES]
    return [*zip(*columns, *scores, strict=True)]


def _parse_session(cell: str) -> int | None:
    """Return the number of a session; None where somebody has edited it."""
    return int(cell) if cell.isdecimal() else None


def parse_score(text: str) -> float | None:
    """Return a stored score; None where the cell is blank.

    Raises
    ------
    ValueError
        It is not a number from 1 to 5.
    """
    if not text.strip():
        return None
    value = float(text)
    if not (math.isfinite(value) and 1 <= value <= 5):
        raise ValueError(text)
    return value


def format_score(value: float | None) -> str:
    """Return a score as the files hold it: no ``.0`` behind a whole number, blank for None."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
