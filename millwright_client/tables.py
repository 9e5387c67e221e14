"""Between data frames and JSON. pandas is imported where a frame is asked for, and only there."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from millwright_client.errors import Answer

if TYPE_CHECKING:
    import pandas as pd

    from millwright_client.connection import Connection, Query


MAX_PAGE_ROWS = 1_000


@runtime_checkable
class Frame(Protocol):
    """A data frame, as pandas has it, without an import of pandas."""

    index: Sequence[object]
    columns: Sequence[object]

    def to_dict(self, orient: Literal["records"]) -> list[Mapping[Hashable, object]]:
        """Return the rows as dictionaries."""


def to_records(data: object) -> list[dict[str, object]]:
    """Return a data frame, an iterable of mappings, or one mapping as a list of JSON objects.

    Missing values (NaN, NaT, None) become null; times become RFC 3339 text.

    Raises
    ------
    TypeError
        The data is something else.
    """
    rows: list[object]
    if isinstance(data, Frame):
        rows = list(data.to_dict("records"))
    elif isinstance(data, Mapping):
        rows = [data]
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes):
        rows = list(data)
    else:
        rows = [data]
    return [_to_record(row) for row in rows]


def _to_record(row: object) -> dict[str, object]:
    if not isinstance(row, Mapping):
        raise TypeError(f"A data frame or dictionaries are expected, not {type(row).__name__}")
    return {str(name): _to_json(value) for name, value in row.items()}


def _to_json(value: object) -> object:
    """Return a value that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): _to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "astype") and value.dtype.kind == "M":
        # `tolist` makes integers of times in nanoseconds.
        value = value.astype("datetime64[us]")
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return _to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, date | time):
        text = value.isoformat()
        return None if text == "NaT" else text
    # pandas' NA is of a class of its own, which cannot be imported without pandas.
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def to_pandas(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows as a data frame; fields of nested objects become columns such as ``scores_availability_score``."""
    import pandas

    frame = pandas.json_normalize([dict(row) for row in rows], sep="_")
    for name in frame.columns.intersection(["timestamp", "created_at", "last_seen_at"]):
        frame[name] = pandas.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


class Rows(list[Answer]):
    """Rows of a table, as dictionaries."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a data frame."""
        return to_pandas(self)


class Predictions(Rows):
    """Predictions in the order of the inputs, all of one version.

    Parameters
    ----------
    answer : dict
        What the server sent.

    Attributes
    ----------
    model : str
        Such as ``scoring/default``.
    version : int
        The version that answered.
    warnings, ignored_fields : list of str
        What the server remarked about the inputs.
    prediction_id : str or None
        Under which the answer is kept, for ``client.explain``.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer["predictions"])
        self.model = str(answer["model"])
        self.version = int(answer["model_version"])
        self.warnings: list[str] = list(answer.get("warnings") or ())
        self.ignored_fields: list[str] = list(answer.get("ignored_fields") or ())
        self.prediction_id: str | None = answer.get("prediction_id")


class PagedRows:
    """A list of the server, fetched page by page while it is read.

    Iterate over it, or take all of it with ``to_list`` or ``to_pandas``. Each iteration starts anew.
    """

    def __init__(self, connection: Connection, path: str, query: Query) -> None:
        self._connection = connection
        self._path = path
        self._query = {"limit": MAX_PAGE_ROWS, **query}

    def __iter__(self) -> Iterator[Answer]:
        cursor: object = None
        while True:
            page = self._connection.get(self._path, {**self._query, "cursor": cursor})
            yield from page["results"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def head(self, count: int) -> Rows:
        """Return the first rows, without asking for more of them."""
        query = {**self._query, "limit": min(count, MAX_PAGE_ROWS)}
        return Rows(islice(PagedRows(self._connection, self._path, query), count))

    def to_list(self) -> Rows:
        """Return all rows."""
        return Rows(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return all rows as a data frame."""
        return to_pandas(list(self))
