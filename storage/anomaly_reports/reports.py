"""Anomaly reports as columns, put together from the three CSV files and the ids beside them."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from typing import Any, Final

from errors import DataFileInvalid
from storage.anomaly_reports.csv_table import CsvTable

SCORES: Final = ("availability", "fiability", "process_safety")
COLUMNS: Final = {
    "equipment_id": "Num_equipement",
    "system": "Systeme",
    "description": "Description",
    "detected_at": "Date de détéction de l'anomalie",
    "equipment_name": "Description de l'équipement",
    "owner_section": "Section propriétaire",
}
"""Field of a record → column of the CSV files, in their order."""
_DATES: Final = [*COLUMNS].index("detected_at")
SCORE_COLUMNS: Final = {
    "availability": "Disponibilté",
    "fiability": "Fiabilité Intégrité",
    "process_safety": "Process Safety",
}
DAY_FIRST: Final = "%d/%m/%Y %H:%M:%S"
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?)?", re.ASCII)
_DAY_FIRST: Final = re.compile(r"\d{1,2}/\d{1,2}/\d{4}(?: +(\d{1,2}:\d\d(?::\d\d)?))?", re.ASCII)


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
    is_new : list of bool
        Whether the row is pending.
    """

    equipment_id: list[str]
    system: list[str]
    description: list[str]
    detected_at: list[str]
    equipment_name: list[str]
    owner_section: list[str]
    scores: dict[str, list[float | None]]
    anomaly_ids: list[str | None]
    is_new: list[bool]

    def __len__(self) -> int:
        return len(self.description)


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
    places : dict
        Which record of its file each row is, by score; None where the file lacks it.
    names : sequence of str
        The anomaly id of each row of the ids file.
    owners : sequence
        Which row of the ids file names each row; None where none does.
    """

    tables: dict[str, CsvTable]
    columns: list[Sequence[str]]
    values: dict[str, list[float | None]]
    places: dict[str, Sequence[int | None]]
    names: Sequence[str]
    owners: Sequence[int | None]

    def reports(
        self, pending: Sequence[Mapping[str, str]] = (), pending_ids: Sequence[str | None] = ()
    ) -> AnomalyReports:
        """The rows that count, then the pending ones, as columns."""
        kept = self._kept({name for name in pending_ids if name})
        columns = {
            name: [*compress(column, kept), *(new[name] for new in pending)]
            for name, column in zip(COLUMNS, self.columns, strict=True)
        }
        scores = {
            score: [*compress(self.values[score], kept), *(parse_score(new[score]) for new in pending)]
            for score in SCORES
        }
        owners = compress(self.owners, kept)
        ids = [None if owner is None else self.names[owner] for owner in owners]
        is_new = [False] * len(ids) + [True] * len(pending)
        ids += [name or None for name in pending_ids]
        return AnomalyReports(**columns, scores=scores, anomaly_ids=ids, is_new=is_new)

    def _kept(self, replaced: set[str]) -> list[bool]:
        """Whether each row's content is the newest of its id, given the ids that pending rows replace."""
        owned = sorted(owner for owner in self.owners if owner is not None)
        newest = {self.names[owner]: owner for owner in owned}
        counting = {owner for name, owner in newest.items() if name not in replaced}
        return [owner is None or owner in counting for owner in self.owners]


def join_reports(
    tables: dict[str, CsvTable], names: Sequence[str], row_hashes: Sequence[str]
) -> JoinedReports:
    """Put the files side by side and find out which rows the ids name.

    Rows belong together when they agree in all of ``COLUMNS``; the k-th of several equal ones with the k-th.

    Parameters
    ----------
    names, row_hashes : sequence of str
        The ids file: anomaly ids and the hash of the row each names.

    Raises
    ------
    DataFileInvalid
        A score or date cannot be read; the message names file and line.
    """
    own = {score: [table.column(name) for name in COLUMNS.values()] for score, table in tables.items()}
    told: dict[int, tuple[str, ...]] = {}
    for score, cells in own.items():
        column = id(cells[_DATES])  # files that are alike share their columns
        if column not in told:
            told[column] = _dates(tables[score], cells[_DATES])
        cells[_DATES] = told[column]
    columns, places = _places(own)
    values: dict[str, list[float | None]] = {}
    for score in SCORES:
        known = _values(tables[score], SCORE_COLUMNS[score]) if score in tables else []
        places.setdefault(score, [None] * len(columns[0]))
        values[score] = _picked(known, places[score])
    return JoinedReports(tables, columns, values, places, names, _owners(columns, values, row_hashes))


def _places(
    own: Mapping[str, list[tuple[str, ...]]],
) -> tuple[list[Sequence[str]], dict[str, Sequence[int | None]]]:
    first = next(iter(own.values()), [()] * len(COLUMNS))
    if all(columns == first for columns in own.values()):
        return [*first], {score: range(len(first[0])) for score in own}
    index: dict[tuple[tuple[str, ...], int], int] = {}
    found: dict[str, dict[int, int]] = {}
    for score, columns in own.items():
        seen: Counter[tuple[str, ...]] = Counter()
        found[score] = {}
        for place, row in enumerate(zip(*columns, strict=True)):
            seen[row] += 1
            found[score][index.setdefault((row, seen[row]), len(index))] = place
    joined: list[Sequence[str]] = [*zip(*(row for row, _ in index), strict=True)]
    return joined, {score: [places.get(row) for row in range(len(index))] for score, places in found.items()}


def _picked(known: list[float | None], places: Sequence[int | None]) -> list[float | None]:
    if isinstance(places, range):
        return known
    return [None if place is None else known[place] for place in places]


def _values(table: CsvTable, column: str) -> list[float | None]:
    texts = table.column(column)
    values: dict[str, float | None] = {}
    wrong: set[str] = set()
    for text in set(texts):
        try:
            values[text] = parse_score(text.replace(",", ".") if table.speaks_excel else text)
        except ValueError:
            wrong.add(text)
    _refuse(table, texts, wrong, f"{column} is {{}} instead of a number from 1 to 5")
    return [values[text] for text in texts]


def _dates(table: CsvTable, dates: tuple[str, ...]) -> tuple[str, ...]:
    """The dates as Millwright writes them; the same tuple where they already are."""
    other = {text for text in set(dates) if not _DATE.fullmatch(text)}
    read = {text: parse_day_first(text) for text in other if table.speaks_excel}
    known = "2024-12-05 14:30:22" + (" or 05/12/2024 14:30 (day first)" if table.speaks_excel else "")
    wrong = {text for text in other if read.get(text) is None}
    _refuse(table, dates, wrong, f"{{}} is not a date like {known}")
    return tuple(read.get(text) or text for text in dates) if other else dates


def parse_day_first(text: str) -> str | None:
    """A date like ``05/12/2024 14:30`` as ``YYYY-MM-DD HH:MM:SS``; None where it is none."""
    slashed = _DAY_FIRST.fullmatch(text)
    if slashed is None:
        return None
    time = slashed[1] or ""
    form = "%d/%m/%Y" + (" %H:%M:%S" if time.count(":") == 2 else " %H:%M" if time else "")
    try:
        moment = datetime.strptime(" ".join(text.split()), form)
    except ValueError:
        return None
    return moment.isoformat(sep=" ") if time else moment.date().isoformat()


def format_date_like(example: str, iso: str) -> str:
    """A date as Millwright writes it, in the manner of another one: day first where that has it so."""
    if not iso or not _DAY_FIRST.fullmatch(example):
        return iso
    return datetime.fromisoformat(iso).strftime(DAY_FIRST)


def _refuse(table: CsvTable, cells: Sequence[str], wrong: Collection[str], said: str) -> None:
    """Name the first line that holds a wrong cell."""
    if wrong:
        place = next(place for place, cell in enumerate(cells) if cell in wrong)
        told = said.format(repr(cells[place][:40]))
        raise DataFileInvalid(f"{table.file.name}, line {table.line(place)}: {told}")


def _owners(
    columns: list[Sequence[str]], values: Mapping[str, list[float | None]], row_hashes: Sequence[str]
) -> Sequence[int | None]:
    owners: list[int | None] = [None] * len(columns[0])
    if not row_hashes:
        return owners
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for number, sha256 in enumerate(row_hashes):
        waiting[sha256].append(number)
    texts = {value: format_score(value) for column in values.values() for value in set(column)}
    scores = [[texts[value] for value in values[score]] for score in SCORES]
    hashes = list(map(hash_row, zip(*columns, *scores, strict=True)))
    for row in range(len(owners) - 1, -1, -1):
        numbers = waiting.get(hashes[row])
        if numbers:
            owners[row] = numbers.pop()
    return owners


def hash_row(cells: Sequence[str]) -> str:
    """What a stored row is known by: the hash of its cells (which hold no NUL) and its three scores."""
    return hashlib.sha256("\0".join(cells).encode("utf-8")).hexdigest()


def parse_score(text: str) -> float | None:
    """A stored score; None where the cell is blank.

    Raises
    ------
    ValueError
        No number from 1 to 5.
    """
    if not text.strip():
        return None
    value = float(text)
    if not (math.isfinite(value) and 1 <= value <= 5):
        raise ValueError(text)
    return value


def format_score(value: Any) -> str:
    """A score as the files hold it: no ``.0`` behind a whole number, nothing for None."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
