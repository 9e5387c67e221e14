"""The report of a dataset: one finding a kind of fault, with the rows or files concerned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

# Rows or files of a finding that are named one by one; all are counted.
MAX_NAMED: Final = 20


class FindingDict(TypedDict):
    """A finding as ``dataset.json`` and the API write it."""

    code: str
    message: str
    count: int
    rows: list[int]
    column: str | None
    values: list[str]
    fix: str | None


@dataclass(frozen=True)
class DatasetFinding:
    """One kind of fault.

    Parameters
    ----------
    rows : tuple of int
        The first data rows concerned, counted from 1: the first row below the header is row 1.
    values : tuple of str
        Cells at fault, or names of files.
    fix : str, optional
        The fix that would repair it, applied only when somebody asks for it.
    """

    code: str
    message: str
    count: int
    rows: tuple[int, ...] = ()
    column: str | None = None
    values: tuple[str, ...] = ()
    fix: str | None = None

    def to_dict(self) -> FindingDict:
        """Return the finding as facts.json and responses have it."""
        finding = {**asdict(self), "rows": list(self.rows), "values": list(self.values)}
        return cast(FindingDict, finding)


def list_rows(
    code: str,
    message: str,
    rows: NDArray[np.intp],
    *,
    column: str | None = None,
    fix: str | None = None,
    values: tuple[str, ...] = (),
) -> list[DatasetFinding]:
    """Return a finding about these rows, counted from 0; nothing where there are none."""
    if not len(rows):
        return []
    named = tuple(int(row) + 1 for row in rows[:MAX_NAMED])
    return [DatasetFinding(code, message, len(rows), named, column, values, fix)]


def list_names(code: str, message: str, names: list[str]) -> DatasetFinding:
    """Return a finding about these files or classes."""
    values = tuple(name[:200] for name in names[:MAX_NAMED])
    return DatasetFinding(code, f"{message} ({len(names)})", len(names), values=values)
