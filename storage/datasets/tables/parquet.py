"""A Parquet file's rows, block by block, in few types: numbers, times and short texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from errors import BodyTooLarge
from storage.datasets.tables import column_names
from storage.datasets.tables.table import NO_TIME

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS: Final = 65_536
_NUMBER_BYTES: Final = 8
_LONGEST_TEXT: Final = 400
"""Characters of a cell that are looked at: any number and any time has fewer."""
_NS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def blocks(path: Path, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """The rows, with texts as short plain strings however they are stored.

    Parameters
    ----------
    largest_bytes : int
        Most bytes that the file may unfold to, by what it says itself and by its numbers.

    Raises
    ------
    BodyTooLarge
        It unfolds to more.
    InvalidContent
        A column's name will not do.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as opened:
        schema, about = opened.schema_arrow, opened.metadata
        column_names.check_column_names(schema.names)
        said = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        if max(said, about.num_rows * len(schema.names) * _NUMBER_BYTES) > max_bytes:
            raise BodyTooLarge(f"The file unfolds to more than {max_bytes / 1e6:g} MB")
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    wanted = None if len(flat) == len(schema) else flat
    texts = [name for name in flat if _is_text(schema.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:  # a text that repeats is unfolded once
        for batch in file.iter_batches(_ROWS, columns=wanted):
            columns = [
                _plain(batch.column(name)) if name in flat else pa.repeat("(nested)", len(batch))
                for name in schema.names
            ]
            yield pa.RecordBatch.from_arrays(columns, names=schema.names)


def nanoseconds(cells: pa.Array) -> NDArray[np.int64]:
    """The int64 times of dates or timestamps; `NO_TIME` where null, or beyond what nanoseconds can count."""
    import pyarrow as pa

    if pa.types.is_date(cells.type):
        cells = cells.cast(pa.timestamp("ms"))
    factor = _NS[cells.type.unit]
    counted: NDArray[np.int64] = cells.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    within = np.abs(counted.astype(np.float64)) < np.iinfo(np.int64).max / factor
    return np.where(within, np.where(within, counted, 0) * factor, NO_TIME)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _plain(cells: pa.Array) -> pa.Array:
    """Texts cut to what is looked at; anything else as it is, without a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(cells.type):
        return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
    if not pa.types.is_dictionary(cells.type):
        return pc.utf8_slice_codeunits(cells, 0, _LONGEST_TEXT).cast(pa.string())
    short = pc.utf8_slice_codeunits(cells.dictionary, 0, _LONGEST_TEXT).cast(pa.string())
    return pa.DictionaryArray.from_arrays(cells.indices, short).dictionary_decode()
