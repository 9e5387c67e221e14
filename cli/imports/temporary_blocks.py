"""Blocks of checked rows that wait in a temporary file until all rows of an import are checked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import Final, Self

from errors import StorageFailed
from storage.filesystem.files import storage_errors

# Size and CRC-32 of the block that follows.
_HEADER: Final = struct.Struct(">QI")


class TemporaryBlocks:
    """A temporary file of blocks; each is compared with its checksum when it is read back."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  # __exit__ closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # On a full disk, it cannot write what is left in its buffer: nobody reads it any more.
        with suppress(OSError):
            self._file.close()

    def append(self, block: bytes) -> None:
        """Add a block.

        Raises
        ------
        DiskFull, StorageFailed
            The folder for temporary files, which ``TMPDIR`` names, takes no more.
        """
        with storage_errors(
            f"the temporary file of the import in {gettempdir()} (TMPDIR names another folder)"
        ):
            self._file.write(_HEADER.pack(len(block), zlib.crc32(block)))
            self._file.write(block)
            # A write that fails must fail here, not when the blocks are read or the file is closed.
            self._file.flush()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks in the order in which they were added.

        Raises
        ------
        StorageFailed
            A block is not what was written.
        """
        self._file.seek(0)
        while header := self._file.read(_HEADER.size):
            size, checksum = _HEADER.unpack(header)
            block = self._file.read(size)
            if len(block) != size or zlib.crc32(block) != checksum:
                raise StorageFailed(
                    "The temporary file of the import is damaged: check the disk, and import again"
                )
            yield block
