"""Read an upload into the files of a dataset, in a child process with limits of time and memory.

What clients send may be small and unfold to gigabytes, or take minutes to parse; neither must harm a web worker.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, cast

import numpy as np

import errors
from errors import InvalidContent, MillwrightError
from storage.datasets.archive import UploadedFiles, open_archive
from storage.datasets.facts import FACTS_FILE, RECORDINGS, TABLE, Description, Origin
from storage.datasets.findings import DatasetFinding
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.collection import (
    LIST_FILE,
    describe_recordings,
    encode_entries,
    read_recordings,
)
from storage.datasets.recordings.recording_validation import validate_recordings
from storage.datasets.tables.reading import read_table
from storage.datasets.tables.table import DataTable, describe_table
from storage.datasets.tables.validation import validate_table
from storage.filesystem.checked_write import save_array, save_json, write_checked
from storage.filesystem.files import storage_errors

UPLOAD_FILE: Final = "upload"
VALUES_FILE, TIMES_FILE = "values.npy", "times.npy"
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
_PROJECT: Final = Path(__file__).resolve().parents[2]
_MIN_MEMORY_BYTES: Final = 640 << 20
# Packed text unfolds tenfold, and is then held as text, as numbers and as samples.
_MEMORY_PER_BYTE: Final = 40
_MIN_SECONDS, _SECONDS_PER_MB = 20.0, 1.0
# Exit code of a child that has said why.
_FAILED: Final = 3


def read_upload(folder: Path, origin: Origin, hints: UploadHints, max_bytes: int) -> None:
    """Read ``upload`` in this folder and put the dataset's files in its place.

    Raises
    ------
    BodyTooLarge
        It unfolds to more than ``max_bytes``.
    InvalidContent
        It is no table and no harmless archive.
    """
    upload = folder / UPLOAD_FILE
    with upload.open("rb") as opened:
        is_zip = opened.read(4) in _ZIP_MAGIC
    if is_zip:
        with open_archive(upload, max_bytes) as files, storage_errors(folder):
            store_recordings(folder, files, origin, hints)
        upload.unlink()
        return
    table = read_table(upload, max_bytes, hints)
    # The upload itself, and what a gzipped one was unpacked to.
    for file in folder.iterdir():
        file.unlink()
    store_table(folder, table, origin)


def read_upload_in_child(folder: Path, origin: Origin, hints: UploadHints, max_bytes: int) -> None:
    """Do the same in a child process whose time and memory depend on the size of the upload.

    Raises
    ------
    InvalidContent
        Reading takes more than that, or what `read_upload` raises.
    """
    size = (folder / UPLOAD_FILE).stat().st_size
    seconds = _MIN_SECONDS + _SECONDS_PER_MB * size / 1e6
    task = {
        "folder": str(folder.absolute()),
        "origin": origin,
        "hints": asdict(hints),
        "max_bytes": max_bytes,
        "memory_bytes": _MIN_MEMORY_BYTES + min(_MEMORY_PER_BYTE * size, 3 * max_bytes),
        "seconds": seconds,
    }
    # Arrow's own allocator reserves address space that it never uses and that the limit would count.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    try:
        # A fresh interpreter: a fork of a web worker would inherit its threads' locks and its sockets.
        done = subprocess.run(
            [sys.executable, "-m", "storage.datasets.reader"],
            input=json.dumps(task),
            cwd=_PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=4 * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_costly() from error
    if done.returncode == _FAILED:
        reason = json.loads(done.stdout.splitlines()[-1])
        raise getattr(errors, reason["kind"])(reason["message"], **reason["facts"])
    # Without a reason it was killed by a limit, or by a crash of a parser.
    if done.returncode:
        raise _too_costly()


def store_table(folder: Path, table: DataTable, origin: Origin) -> None:
    """Write the arrays and facts of a table."""
    table = replace(table, values=np.ascontiguousarray(table.values))
    with storage_errors(folder):
        save_array(folder / VALUES_FILE, table.values)
        if table.times is not None:
            save_array(folder / TIMES_FILE, np.ascontiguousarray(table.times))
    _write_facts(folder, TABLE, origin, describe_table(table), validate_table(table))


def store_recordings(folder: Path, files: UploadedFiles, origin: Origin, hints: UploadHints) -> None:
    """Write the samples, list and facts of recordings."""
    builder = read_recordings(files, hints, folder)
    write_checked(folder / LIST_FILE, encode_entries(builder.entries))
    _write_facts(folder, RECORDINGS, origin, describe_recordings(builder), validate_recordings(builder))


def _write_facts(
    folder: Path, kind: str, origin: Origin, description: Description, findings: Sequence[DatasetFinding]
) -> None:
    facts = {
        "kind": kind,
        **origin,
        **description,
        "findings": [finding.to_dict() for finding in findings],
    }
    save_json(folder / FACTS_FILE, facts)


def _too_costly() -> InvalidContent:
    return InvalidContent(
        "The file takes more time or memory to read than a file of its size may: it unfolds to very many rows, "
        "columns or recordings. Send it in parts."
    )


def main() -> int:
    """Read the task on standard input; write why to standard output where it cannot be done."""
    task = json.load(sys.stdin)
    seconds = int(task["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    # RLIMIT_AS would count address space that numpy's and Arrow's libraries map and never touch.
    resource.setrlimit(resource.RLIMIT_DATA, (task["memory_bytes"], task["memory_bytes"]))
    try:
        hints = UploadHints(**task["hints"])
        read_upload(Path(task["folder"]), cast(Origin, task["origin"]), hints, task["max_bytes"])
    except MemoryError:
        return 1
    except MillwrightError as error:
        reason = {"kind": type(error).__name__, "message": error.message, "facts": error.facts}
        sys.stdout.write(json.dumps(reason))
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
