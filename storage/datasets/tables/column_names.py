"""Check the names of a table's columns before a row is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from errors import InvalidContent
from storage import times
from storage.text.csv_headers import is_unnamed
from storage.text.csv_layout import describe_values
from storage.text.dates import is_moment

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS: Final = 1_000
MAX_NAME_LENGTH: Final = 200
_MAX_LISTED: Final = 5
_PANDAS_INDEX: Final = re.compile(r"__index_level_\d+__")


def check_column_names(names: Sequence[str]) -> None:
    """Require a name of its own, of a reasonable length, for every column.

    Raises
    ------
    InvalidContent
        The message says which name is at fault, or which column has none.
    """
    if len(names) > MAX_COLUMNS:
        raise InvalidContent(f"A dataset may have {MAX_COLUMNS:,} columns, this one has {len(names):,}")
    if unnamed := [str(number) for number, name in enumerate(names, 1) if is_unnamed(name)]:
        raise InvalidContent(
            f"Every column needs a name of its own; without one: column {_list_some(unnamed)}"
        )
    if wrong := [name for name in names if len(name) > MAX_NAME_LENGTH or "\n" in name]:
        raise InvalidContent(
            f"A column's name has one line and at most {MAX_NAME_LENGTH} characters; "
            f"at fault: {wrong[0][:50]!r}"
        )
    if repeated := [repr(name[:50]) for name, count in Counter(names).items() if count > 1]:
        raise InvalidContent(f"Every column needs a name of its own; at fault: {_list_some(repeated)}")


def check_schema(schema: pa.Schema) -> None:
    """Check the names of a typed table; an index that pandas has written along has no name, and is no data.

    An index of times is data and has none either.

    Raises
    ------
    InvalidContent
        As `check_column_names`, or a column is such an index.
    """
    import pyarrow as pa

    check_column_names(schema.names)
    for field in schema:
        if _PANDAS_INDEX.fullmatch(field.name) and pa.types.is_integer(field.type):
            raise InvalidContent(
                f"The column {field.name!r} is the row index of a pandas table, no data: save the table with "
                "index=False, or give the index a name where it holds data"
            )


def check_is_header(names: Sequence[str]) -> None:
    """Refuse a first line of times and numbers, which is a row of the table; rising numbers may be names.

    Raises
    ------
    InvalidContent
        The line holds values.
    """
    if any(map(is_moment, names)):
        raise InvalidContent(describe_values(names))
    texts = [name for name in names if not is_number(name)]
    if any(times.detect_format_of_texts([name]) is None for name in texts):
        return
    numbers = [float(name) for name in names if is_number(name)]
    if texts or numbers != sorted(set(numbers)):
        raise InvalidContent(describe_values(names))


def is_number(text: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _list_some(items: Sequence[str]) -> str:
    return ", ".join(items[:_MAX_LISTED]) + (", …" if len(items) > _MAX_LISTED else "")
