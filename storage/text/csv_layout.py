"""Find the table in a CSV text: one rule for uploads, request bodies and files of records.

Loggers write about themselves above the names and put units below them; spreadsheets add empty columns, an index
without a name, and lines such as ``sep=;``.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.text.csv_headers import (
    DELIMITERS,
    detect_delimiter,
    fold_name,
    has_time_word,
    is_time_word,
    is_unnamed,
)
from storage.text.numbers import DecimalSign, find_decimal_sign, find_doubtful, is_missing

SAMPLE_LINES: Final = 500
_MIN_ROWS_BELOW_PREAMBLE: Final = 3
# TOA5 files of Campbell loggers have two: units, and how each value was aggregated.
_MAX_UNIT_ROWS: Final = 2
_MAX_UNIT_LENGTH: Final = 20
_MIN_INDEX_ROWS: Final = 2
_SEPARATOR_LINE: Final = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n", re.IGNORECASE)
# In names such as "Date Time, GMT+01:00".
_STATED_OFFSET: Final = re.compile(r"\b(?:GMT|UTC) ?[+-] ?0?[1-9]", re.IGNORECASE)
# Byte order marks of joined files, and what web pages put between words.
_INVISIBLE: Final = " \ufeff\u200b\u200e\u200f\u2060"
_NUMBER_START: Final = re.compile(r"[+-]?[.,]?\d")
_TEXT_UNITS: Final = ("", "text", "string", "str", "char", "name")
_SUPERSCRIPTS: Final = str.maketrans("", "", "²³")
_UNIT_PARTS: Final = re.compile(r"[^\W\d_]+|[°%‰]")
_UNIT_WORDS: Final = (
    "s sec second seconds min mins minute minutes h hr hrs hour hours d day days ms us µs ns m mm cm km "
    "um µm nm in ft g mg kg t lb l ml gal c k f deg degc degf ° % ‰ rh pa hpa kpa mpa bar mbar psi atm "
    "torr mmhg inhg v mv kv a ma ua µa ka w mw kw gw va kva mva var kvar mvar wh kwh mwh gwh j kj mj hz "
    "khz mhz ghz rpm rev n kn ω ohm ohms kohm mohm mol ppm ppb ph db dba lx lux lm cd rad ntu cfm gpm lpm "
    "volt volts amp amps ampere watt watts joule celsius kelvin fahrenheit meter meters metre metres "
    "percent pct count counts unitless dimensionless smp avg std tot max ts rn yyyy yy dd hh ss utc"
)
_UNITS: Final = frozenset(_UNIT_WORDS.split())


@dataclass(frozen=True)
class CsvLayout:
    """What the first lines of a CSV text tell.

    Parameters
    ----------
    first_row : list of str
        The cells of the first row of the table, usually the names of the columns; as many as its rows have.
    lines : int
        Lines of the text down to the end of that row, others above it included.
    skip_lines : int
        Lines above the first row of values.
    preamble : int
        Rows above the first row which are neither blank nor of the table: what loggers write about themselves.
    units : list of str
        Cells of the row of units right below the names; empty where there is none.
    empty_columns : tuple of int
        Columns without a name and, as far as the sample shows, without a cell: left by spreadsheets.
    index_column : int, optional
        A first column without a name that counts the rows, as pandas writes it, or as it names one that it has read.
    decimal_sign : str, optional
        The sign before decimals; None where the cells do not show one.
    assumption : str
        How numbers are read that may be meant otherwise; empty where there are none.
    """

    first_row: list[str]
    delimiter: str
    lines: int
    skip_lines: int
    preamble: int = 0
    units: list[str] = field(default_factory=list)
    num_unit_rows: int = 0
    empty_columns: tuple[int, ...] = ()
    index_column: int | None = None
    decimal_sign: DecimalSign | None = None
    assumption: str = ""

    @property
    def left_out(self) -> set[int]:
        """Columns that hold no data."""
        return {*self.empty_columns} | ({self.index_column} if self.index_column is not None else set())

    @property
    def columns(self) -> list[str]:
        """Names of the columns that hold data."""
        return [name for number, name in enumerate(self.first_row) if number not in self.left_out]

    def notes(self) -> list[tuple[str, str, int]]:
        """Return code, sentence and count of everything that is left out, so that nothing is dropped silently."""
        notes = []
        if self.preamble:
            notes.append(
                (
                    "preamble",
                    f"{count_of(self.preamble, 'line')} left out above the column names",
                    self.preamble,
                )
            )
        if self.units:
            units = ", ".join(unit for unit in self.units if unit)[:100]
            count = self.num_unit_rows
            notes.append(
                (
                    "unit_row",
                    f"{count_of(count, 'row')} left out below the column names: units ({units})",
                    count,
                )
            )
        if self.empty_columns:
            count = len(self.empty_columns)
            notes.append(
                ("empty_columns", f"{count_of(count, 'column')} left out, without a name and cells", count)
            )
        if self.index_column is not None:
            notes.append(
                ("index_column", "The first column has no name and counts the rows: it was left out", 1)
            )
        for name in filter(_STATED_OFFSET.search, self.columns):
            sentence = (
                f"{name!r} states an offset: its times are read as UTC where they have no offset themselves"
            )
            notes.append(("offset_in_name", sentence, 1))
        if self.assumption:
            notes.append(("assumed_decimal_sign", self.assumption, 1))
        return notes


def find_layout(text: str) -> CsvLayout:
    """Find delimiter, names and units in the first lines of a CSV text.

    Raises
    ------
    csv.Error
        A line cannot be read; the message begins with it.
    ValueError
        Every line is blank.
    """
    stated = _SEPARATOR_LINE.match(text)
    delimiter = stated[1] if stated else _choose_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    last_line = 0
    try:
        for row in reader:
            last_line = reader.line_num
            # Excel writes the line of the separator for other copies of Excel.
            if not (stated and last_line == 1):
                rows.append((last_line, row))
            if len(rows) == SAMPLE_LINES:
                break
    except csv.Error as error:
        raise csv.Error(f"line {last_line + 1}: {error}") from error
    return find_table(rows, delimiter)


def find_table(rows: Sequence[tuple[int, Sequence[str]]], delimiter: str = "") -> CsvLayout:
    """Find names and units in the first rows of a table, each with the number of its last line.

    Parameters
    ----------
    delimiter : str
        Between the cells; a semicolon stands where commas are decimal commas.

    Raises
    ------
    ValueError
        Every row is blank.
    """
    filled = [(line, [cell.strip() for cell in row]) for line, row in rows]
    filled = [(line, cells) for line, cells in filled if any(cells)]
    if not filled:
        raise ValueError("blank")
    # The rows below decide: a preamble and a broken row are few.
    width = Counter(len(cells) for _, cells in filled[1:] or filled).most_common(1)[0][0]
    header = _find_header([cells for _, cells in filled], width)
    line, names = filled[header]
    names = [name.strip(_INVISIBLE) for name in names]
    names = ["" if is_unnamed(name) else name for name in names]
    values = [cells for _, cells in filled[header + 1 :]]
    # Some programs end each row, or only the names, with a delimiter.
    if len(names) > width and not any(names[width:]):
        names = names[:width]
    if len(names) < width and not any(any(cells[len(names) :]) for cells in values):
        names = names + [""] * (width - len(names))
    num_units = 0
    while num_units < min(_MAX_UNIT_ROWS, len(values) - 1) and _is_unit_row(values[num_units], values[-1]):
        num_units += 1
    units, values = values[:num_units], values[num_units:]
    unnamed = [number for number, name in enumerate(names) if not name and values]
    empty = tuple(
        number for number in unnamed if not any(cells[number] for cells in values if len(cells) > number)
    )
    is_nameless = not fold_name(names[0]) and 0 not in empty
    is_index = is_nameless and _counts_rows([cells[0] for cells in values])
    sign, assumption = _find_decimal_sign([cell for cells in values for cell in cells], delimiter)
    return CsvLayout(
        first_row=names,
        delimiter=delimiter,
        lines=line,
        skip_lines=filled[header + num_units][0],
        preamble=header,
        units=units[0] if units else [],
        num_unit_rows=num_units,
        empty_columns=empty,
        index_column=0 if is_index else None,
        decimal_sign=sign,
        assumption=assumption,
    )


def _find_decimal_sign(cells: Sequence[str], delimiter: str) -> tuple[DecimalSign | None, str]:
    """Return the sign before decimals, and a sentence where it is only likely."""
    sign = find_decimal_sign(cells)
    # Only where Excel separates by semicolons are commas decimal commas.
    if sign is not None or delimiter != ";":
        return sign, ""
    comma, point = find_doubtful(cells, ","), find_doubtful(cells, ".")
    if comma and not point:
        return ",", f"Numbers such as {comma} are read with a decimal comma"
    return None, f"Numbers such as {point} are read with a decimal point" if point else ""


def _choose_delimiter(text: str) -> str:
    """Return the delimiter that gives most rows one width; the first line decides where several do."""
    lines = [line for line in text.splitlines()[:SAMPLE_LINES] if line.strip()]
    if not lines:
        raise ValueError("blank")
    first = detect_delimiter(lines[0])
    best, best_rows = first, 0
    for delimiter in (first, *DELIMITERS):
        try:
            widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter))
        except csv.Error:  # With another delimiter a whole line is one cell, which may be too long.
            continue
        width, rows = max(widths.items(), key=lambda item: (item[0] > 1, item[1]))
        if width > 1 and rows > best_rows:
            best, best_rows = delimiter, rows
    return best


def _find_header(rows: Sequence[list[str]], width: int) -> int:
    """Return which row names the columns: the first one as wide as the table, or one that names a time."""
    # A row that is wider than the others is a mistake in it, not the end of a preamble, and one that lacks only
    # cells that are empty in every row is as wide.
    header = 0
    if len(rows[0]) < width and any(any(cells[len(rows[0]) :]) for cells in rows[1:]):
        header = next((number for number, cells in enumerate(rows) if len(cells) == width), 0)
    # A preamble of names and values may have as many columns as the table.
    if not any(map(has_time_word, rows[header])):
        candidates = range(header + 1, len(rows) - 1)
        header = next(
            (
                number
                for number in candidates
                if len(rows[number]) == width and _names_a_time(rows[number], rows[-1])
            ),
            header,
        )
    return header if len(rows) - header >= _MIN_ROWS_BELOW_PREAMBLE else 0


def _names_a_time(cells: Sequence[str], values: Sequence[str]) -> bool:
    """Tell whether all cells are names, and one of them is that of the times below it."""
    is_time = (
        is_time_word(cell) and _NUMBER_START.match(value) for cell, value in zip(cells, values, strict=False)
    )
    return all(cells) and not any(map(_NUMBER_START.match, cells)) and any(is_time)


def _is_unit_row(cells: Sequence[str], values: Sequence[str]) -> bool:
    """Tell whether a row holds units: some are known, all are short, and most of the values below are numbers."""
    texts = [cell for cell in cells if cell]
    numbers = [bool(_NUMBER_START.match(cell)) for cell in values]
    is_short = all(
        (len(cell) <= _MAX_UNIT_LENGTH and not is_missing(cell)) or _is_unit(cell) for cell in texts
    )
    # A row of data has texts where the other rows have texts.
    is_data = any(
        cell.lower() not in _TEXT_UNITS
        for cell, is_number in zip(cells, numbers, strict=False)
        if not is_number
    )
    is_value = any(_NUMBER_START.match(cell) and not _is_unit(cell) for cell in texts)
    return (
        is_short
        and not is_data
        and not is_value
        and any(map(_is_unit, texts))
        and 2 * sum(numbers) >= len(values)
    )


def _is_unit(cell: str) -> bool:
    parts = _UNIT_PARTS.findall(cell.lower().translate(_SUPERSCRIPTS))
    return bool(parts) and all(part in _UNITS for part in parts)


def _counts_rows(cells: Sequence[str]) -> bool:
    if len(cells) < _MIN_INDEX_ROWS or not all(cell.isascii() and cell.isdigit() for cell in cells):
        return False
    numbers = list(map(int, cells))
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def describe_values(names: Sequence[str]) -> str:
    """Return what is wrong with a line of values where names are expected, and the way out."""
    return (
        f"The first line holds values ({', '.join(names[:3])}, …), not names: "
        "write a line of column names above it"
    )


def count_of(count: int, noun: str) -> str:
    """Return "1 row is" or "3 rows are"."""
    return f"{count:,} {noun} is" if count == 1 else f"{count:,} {noun}s are"
