"""Turn an uploaded text file into one that Arrow reads: unpacked, in UTF-8, with line feeds at the ends of lines."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

from errors import BodyTooLarge, InvalidContent
from storage.datasets import csv_files
from storage.datasets.archive import MAX_RATIO, MIN_RATIO_BYTES
from storage.filesystem.checked_write import checked_writer

_CHUNK_BYTES: Final = 1 << 20


def transcode(path: Path, encoding: str) -> Path:
    """Write a text file as UTF-8 beside it: Arrow reads nothing else."""
    target = path.with_name(f"{path.name}.utf-8")
    try:
        with path.open(encoding=encoding, newline="") as source, checked_writer(target) as file:
            while block := source.read(_CHUNK_BYTES):
                file.write(block.encode())
    except UnicodeError as error:
        raise InvalidContent(f"The file is not {encoding}: {error}") from error
    return target


def unify_line_ends(path: Path) -> Path:
    """Write a file beside it where lines end in bare carriage returns: Arrow skips no such line."""
    with path.open("rb") as source:
        if not csv_files.has_bare_returns(source.read(csv_files.MAX_HEADER_BYTES)):
            return path
        source.seek(0)
        target = path.with_name(f"{path.name}.lines")
        with checked_writer(target) as file:
            while block := source.read(_CHUNK_BYTES):
                file.write(block.replace(b"\r", b"\n"))
    return target


def unpack_gzip(path: Path, max_bytes: int) -> Path:
    """Write the content of a gzipped file beside it, as long as it stays within bounds."""
    target = path.with_name(f"{path.name}.csv")
    size, most_by_ratio = 0, MAX_RATIO * path.stat().st_size
    try:
        with gzip.open(path) as packed, checked_writer(target) as plain:
            while block := packed.read(_CHUNK_BYTES):
                size += len(block)
                if size > max_bytes:
                    raise BodyTooLarge(f"The file unfolds to more than {max_bytes / 1e6:g} MB")
                if size > MIN_RATIO_BYTES and size > most_by_ratio:
                    raise BodyTooLarge(f"The file unfolds to more than {MAX_RATIO} times its size")
                plain.write(block)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidContent(f"The gzip file is damaged: {error}") from error
    return target
