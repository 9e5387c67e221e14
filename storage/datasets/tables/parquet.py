"""Read a Parquet file block by block, in few types: numbers, times and short texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from errors import BodyTooLarge
from storage.datasets.tables.column_names import check_schema

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS: Final = 65_536
_NUMBER_BYTES: Final = 8
# Characters of a cell that are read: any number and any time has fewer.
_MAX_TEXT_LENGTH: Final = 400


def read_batches(path: Path, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Read the rows, with texts as short plain strings however they are stored.

    Parameters
    ----------
    max_bytes : int
        Most bytes that the file may unfold to, by its own statement and by its numbers.

    Raises
    ------
    BodyTooLarge
        It unfolds to more.
    InvalidContent
        A column's name cannot be used.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as opened:
        schema, metadata = opened.schema_arrow, opened.metadata
        check_schema(schema)
        unfolded = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        if max(unfolded, metadata.num_rows * len(schema.names) * _NUMBER_BYTES) > max_bytes:
            raise BodyTooLarge(f"The file unfolds to more than {max_bytes / 1e6:g} MB")
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    texts = [name for name in flat if _is_text(schema.field(name).type)]
    # Read as dictionaries, a long text that repeats is unfolded once and not once a row.
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=None if len(flat) == len(schema) else flat):
            columns = [
                _shorten(batch.column(name)) if name in flat else pa.repeat("(nested)", len(batch))
                for name in schema.names
            ]
            yield pa.RecordBatch.from_arrays(columns, names=schema.names)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _shorten(cells: pa.Array) -> pa.Array:
    """Cut texts to their first characters; other cells stay, without a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(cells.type):
        return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
    if not pa.types.is_dictionary(cells.type):
        return pc.utf8_slice_codeunits(cells, 0, _MAX_TEXT_LENGTH).cast(pa.string())
    short = pc.utf8_slice_codeunits(cells.dictionary, 0, _MAX_TEXT_LENGTH).cast(pa.string())
    return pa.DictionaryArray.from_arrays(cells.indices, short).dictionary_decode()
