"""What a training prints, kept beside what it has made, so that the report can quote it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Final, TextIO

from storage.filesystem.files import storage_errors

TRAINING_LOG: Final = "training.log"
_MOST_CHARACTERS: Final = 200_000


class _Tee(io.TextIOBase):
    """Hands on to a stream what is written, and remembers it."""

    def __init__(self, stream: TextIO, said: io.StringIO) -> None:
        self._stream = stream
        self._said = said

    def write(self, text: str) -> int:
        if self._said.tell() < _MOST_CHARACTERS:
            self._said.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def capture_output(log: Path) -> Iterator[None]:
    """Append what is printed within, warnings too, to a file; it is printed all the same."""
    said = io.StringIO()
    with redirect_stdout(_Tee(sys.stdout, said)), redirect_stderr(_Tee(sys.stderr, said)):
        yield
    if said.getvalue():
        with storage_errors(log), log.open("a", encoding="utf-8") as kept:
            kept.write(said.getvalue())
