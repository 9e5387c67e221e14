"""Capture a training's stdout and stderr in training.log, so that the report can quote them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Final, TextIO

from storage.filesystem.checked_write import write_checked
from storage.filesystem.files import storage_errors

TRAINING_LOG: Final = "training.log"
_MAX_CHARACTERS: Final = 200_000


class _Tee(io.TextIOBase):
    """Writes to a stream and to a buffer."""

    def __init__(self, stream: TextIO, buffer: io.StringIO) -> None:
        self._stream = stream
        self._buffer = buffer

    def write(self, text: str) -> int:
        if self._buffer.tell() < _MAX_CHARACTERS:
            self._buffer.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def capture_output(log: Path) -> Iterator[None]:
    """Append what is printed within the block, warnings included, to a file. It is still printed."""
    buffer = io.StringIO()
    with redirect_stdout(_Tee(sys.stdout, buffer)), redirect_stderr(_Tee(sys.stderr, buffer)):
        yield
    # Most trainings print nothing: their versions get no empty log.
    if text := buffer.getvalue():
        with storage_errors(log):
            before = log.read_bytes() if log.exists() else b""
        write_checked(log, before + text.encode())
