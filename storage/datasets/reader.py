"""Read an upload into the files of a dataset, in a child process with limits of time and memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, cast

import numpy as np

from errors import InvalidContent
from storage.datasets.archive import UploadedFiles, open_archive
from storage.datasets.facts import FACTS_FILE, RECORDINGS, TABLE, Description, Origin
from storage.datasets.findings import DatasetFinding
from storage.datasets.hints import UploadHints
from storage.datasets.limited_child import TooCostly, run_limited, serve_limited
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
from storage.datasets.workbook import is_workbook_file, read_sheet, write_csv
from storage.filesystem.checked_write import save_array, save_json, write_checked
from storage.filesystem.files import storage_errors

UPLOAD_FILE: Final = "upload"
VALUES_FILE, TIMES_FILE = "values.npy", "times.npy"
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")


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
    is_sheet = is_workbook_file(upload)
    if hints.sheet is not None and not is_sheet:
        raise InvalidContent("sheet names the sheet of a workbook, and the file is none: leave it out")
    with upload.open("rb") as opened:
        is_zip = not is_sheet and opened.read(4) in _ZIP_MAGIC
    if is_zip:
        with open_archive(upload, max_bytes) as files, storage_errors(folder):
            store_recordings(folder, files, origin, hints)
        upload.unlink()
        return
    table = read_table(_write_sheet(upload, hints.sheet) if is_sheet else upload, max_bytes, hints)
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
    task = {
        "folder": str(folder.absolute()),
        "origin": origin,
        "hints": asdict(hints),
        "max_bytes": max_bytes,
    }
    try:
        run_limited(__name__, task, size, max_memory_bytes=3 * max_bytes)
    except TooCostly as error:
        raise InvalidContent(
            "The file takes more time or memory to read than a file of its size may: it unfolds to very many rows, "
            "columns or recordings. Send it in parts."
        ) from error


def _write_sheet(upload: Path, sheet: str | None) -> Path:
    """Write a sheet of a workbook beside it as CSV."""
    path = upload.with_name("sheet.csv")
    with storage_errors(upload.parent):
        write_checked(path, write_csv(read_sheet(upload, sheet)).encode())
    return path


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


def _read_task(task: str) -> None:
    arguments = json.loads(task)
    hints = UploadHints(**arguments["hints"])
    read_upload(Path(arguments["folder"]), cast(Origin, arguments["origin"]), hints, arguments["max_bytes"])


if __name__ == "__main__":
    sys.exit(serve_limited(_read_task))
