"""Rows of an import that wait in a temporary file come back as they were, or not at all."""

from __future__ import annotations

import pytest

from cli.imports.temporary_blocks import TemporaryBlocks
from errors import StorageFailed


def test_blocks_come_back_as_they_were_added() -> None:
    with TemporaryBlocks() as blocks:
        for block in (b"first", b"", b"\0" * 100):
            blocks.append(block)
        assert list(blocks) == [b"first", b"", b"\0" * 100]


def test_a_flipped_bit_is_noticed() -> None:
    with TemporaryBlocks() as blocks:
        blocks.append(b"12.5")
        blocks._file.seek(-1, 2)
        blocks._file.write(b"4")
        with pytest.raises(StorageFailed, match="is damaged"):
            list(blocks)
