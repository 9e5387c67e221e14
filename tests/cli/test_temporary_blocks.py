"""Rows of an import that wait in a temporary file come back as they were, or not at all."""

from __future__ import annotations

import resource

import pytest

from cli.imports.temporary_blocks import TemporaryBlocks
from errors import DiskFull, StorageFailed


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


def test_a_temporary_folder_without_space_is_named() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TemporaryBlocks() as blocks:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        try:
            with pytest.raises(DiskFull, match="No space left for the temporary file of the import in /"):
                blocks.append(bytes(100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
