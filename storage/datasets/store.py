"""Datasets on disk: ``data/datasets/<tenant>/<id>/`` with plain arrays that training maps into memory.

A dataset is a table (CSV, Parquet) or recordings (a zip archive of CSV and sound files).
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import BodyTooLarge, InvalidContent, NotFound
from storage.datasets.archive import FolderFiles
from storage.datasets.facts import FACTS_FILE, RECORDINGS, TABLE, DatasetFacts, Origin, read_facts
from storage.datasets.hints import UploadHints
from storage.datasets.reader import (
    TIMES_FILE,
    UPLOAD_FILE,
    VALUES_FILE,
    read_upload,
    read_upload_in_child,
    store_recordings,
    store_table,
)
from storage.datasets.recordings.collection import LIST_FILE, Recordings, load_recordings
from storage.datasets.tables.repair import apply_fixes, preview_fixes
from storage.datasets.tables.table import DataTable
from storage.datasets.tables.validation import validate_table
from storage.filesystem.checked_write import checked_writer, save_json
from storage.filesystem.files import remove_tree, storage_errors, sync_dir, sync_tree, temporary_path
from storage.times import format_instant, format_nanoseconds, utc_now

MAX_DATASET_BYTES: Final = 1_000_000_000
_ID: Final = re.compile(r"ds-[0-9a-f]{12}", re.ASCII)
_CHUNK_BYTES: Final = 1 << 20


class PreviewPage(TypedDict):
    """Some rows of a dataset: of a table with times as RFC 3339, of recordings entries of their list."""

    first_row: int
    rows: list[dict[str, object]]
    total_rows: int


@dataclass(frozen=True)
class Dataset:
    """One upload: a table, or recordings."""

    id: str
    folder: Path
    facts: DatasetFacts

    @property
    def kind(self) -> str:
        """``"table"`` or ``"recordings"``."""
        return self.facts["kind"]

    def require_kind(self, kind: str) -> Dataset:
        """Return this dataset.

        Raises
        ------
        InvalidContent
            It is of the other kind.
        """
        if self.kind != kind:
            wanted = "a table" if kind == TABLE else "recordings (a zip of CSV or sound files)"
            raise InvalidContent(f"Dataset {self.id} is of kind {self.kind}; this needs {wanted}")
        return self

    def recordings(self) -> Recordings:
        """Return the recordings, mapped from disk."""
        self.require_kind(RECORDINGS)
        with storage_errors(self.folder):
            return load_recordings(self.folder, self.facts["columns"], self.facts["input_kind"])

    def table(self) -> DataTable:
        """Return the numbers, mapped from disk: a row is read when somebody looks at it."""
        self.require_kind(TABLE)
        values: NDArray[np.float64] = np.load(self.folder / VALUES_FILE, mmap_mode="r", allow_pickle=False)
        times = self.folder / TIMES_FILE
        return DataTable(
            columns=tuple(self.facts["numeric"]),
            values=values,
            times=np.load(times, allow_pickle=False) if times.exists() else None,
            time_column=self.facts["time_column"],
            time_format=self.facts.get("time_format"),
            texts=tuple(self.facts["texts"]),
        )


class DatasetStore:
    """Everything below ``data/datasets/``. A dataset never changes: a fix makes another one.

    Parameters
    ----------
    folder : Path
        Made when first needed.
    max_bytes : int
        Limit of an upload, also of what a gzipped one unfolds to.
    in_child : bool
        Whether uploads are read in a child process with limits, as a web worker has to.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_DATASET_BYTES, *, in_child: bool = False) -> None:
        self.folder = folder
        self.in_child = in_child
        self.max_bytes = max_bytes
        self.limit_message = (
            f"A dataset may have {max_bytes / 1e6:g} MB, also unfolded; MILLWRIGHT_MAX_DATASET_MB sets it"
        )

    def receive(
        self, stream: IO[bytes], name: str, tenant: str = "default", hints: UploadHints | None = None
    ) -> Dataset:
        """Store an upload, read from the stream piece by piece: a table, or a zip archive of recordings.

        Raises
        ------
        BodyTooLarge
            It is over the limit.
        InvalidContent
            It is no table and no harmless archive; nothing is kept.
        """
        with self._staging(tenant) as staging:
            digest = self._receive_bytes(stream, staging / UPLOAD_FILE)
            origin = Origin(name=name, sha256=digest, parent=None, fixes=[])
            read = read_upload_in_child if self.in_child else read_upload
            read(staging, origin, hints or UploadHints(), self.max_bytes)
            return self._publish(staging)

    def receive_folder(
        self, folder: Path, tenant: str = "default", hints: UploadHints | None = None
    ) -> Dataset:
        """Store the recordings of a folder of this machine; errors as for an upload."""
        with self._staging(tenant) as staging:
            # The name of a folder stands for its content; copies are recognised by their samples.
            origin = Origin(name=folder.name, sha256="", parent=None, fixes=[])
            with storage_errors(folder):
                store_recordings(staging, FolderFiles(folder), origin, hints or UploadHints())
            return self._publish(staging)

    def fix(self, dataset_id: str, fixes: Sequence[str], tenant: str = "default") -> Dataset:
        """Store a new dataset: the given one with fixes applied.

        Raises
        ------
        NotFound, InvalidContent
            There is no such dataset or fix, or the fix does not suit it.
        """
        parent = self.get(dataset_id, tenant)
        table = apply_fixes(parent.table(), fixes)
        digest = hashlib.sha256(np.ascontiguousarray(table.values).tobytes()).hexdigest()
        origin = Origin(name=parent.facts["name"], sha256=digest, parent=parent.id, fixes=list(fixes))
        with self._staging(tenant) as staging:
            store_table(staging, table, origin)
            return self._publish(staging)

    def preview_fix(
        self, dataset_id: str, fixes: Sequence[str], tenant: str = "default"
    ) -> dict[str, object]:
        """Return what fixes would change; errors as for `fix`."""
        table, changes = preview_fixes(self.get(dataset_id, tenant).table(), fixes)
        return {**changes, "findings": [finding.to_dict() for finding in validate_table(table)]}

    def get(self, dataset_id: str, tenant: str = "default") -> Dataset:
        """Return a dataset of this tenant.

        Raises
        ------
        NotFound
            There is none.
        """
        folder = self.folder / tenant / dataset_id
        if not _ID.fullmatch(dataset_id) or not (folder / FACTS_FILE).is_file():
            raise NotFound(f"There is no dataset {dataset_id!r}")
        with storage_errors(folder):
            return Dataset(dataset_id, folder, read_facts(folder))

    def list(self, tenant: str = "default") -> list[Dataset]:
        """Return all datasets of a tenant, the newest first."""
        home = self.folder / tenant
        names = [entry.name for entry in home.iterdir() if _ID.fullmatch(entry.name)] if home.is_dir() else []
        datasets = [self.get(name, tenant) for name in names]
        return sorted(datasets, key=lambda dataset: (dataset.facts["created_at"], dataset.id), reverse=True)

    def delete(self, dataset_id: str, tenant: str = "default") -> None:
        """Remove a dataset; models trained on it stay."""
        remove_tree(self.get(dataset_id, tenant).folder)

    def preview(
        self, dataset_id: str, tenant: str = "default", first: int = 0, count: int = 50
    ) -> PreviewPage:
        """Return some rows, counted from 0; null where there is no number."""
        dataset = self.get(dataset_id, tenant)
        if dataset.kind == RECORDINGS:
            entries = json.loads((dataset.folder / LIST_FILE).read_bytes())
            rows, total = entries[first : first + count], len(entries)
        else:
            table = dataset.table()
            total = table.rows
            rows = [_to_json(table, row) for row in range(first, min(total, first + count))]
        return {"first_row": first + 1, "rows": rows, "total_rows": total}

    @contextmanager
    def _staging(self, tenant: str) -> Iterator[Path]:
        """Make a folder beside the datasets; what is still there at the end is removed."""
        home = self.folder / tenant
        with storage_errors(home):
            home.mkdir(parents=True, exist_ok=True)
        # Beside its later place, so that the last step is a rename within one file system.
        staging = temporary_path(home, "staging")
        with storage_errors(staging):
            staging.mkdir()
        try:
            yield staging
        finally:
            remove_tree(staging)

    def _receive_bytes(self, stream: IO[bytes], target: Path) -> str:
        digest, size = hashlib.sha256(), 0
        with checked_writer(target) as file:
            while block := stream.read(_CHUNK_BYTES):
                size += len(block)
                if size > self.max_bytes:
                    raise BodyTooLarge(self.limit_message)
                digest.update(block)
                file.write(block)
        if not size:
            raise InvalidContent("The file is empty")
        return digest.hexdigest()

    def _publish(self, staging: Path) -> Dataset:
        """Name the dataset and rename its folder: it exists whole or not at all."""
        name = f"ds-{secrets.token_hex(6)}"
        facts = read_facts(staging)
        facts["id"], facts["created_at"] = name, format_instant(utc_now())
        if not facts["sha256"]:
            facts["sha256"] = hashlib.sha256((staging / LIST_FILE).read_bytes()).hexdigest()
        with storage_errors(staging):
            save_json(staging / FACTS_FILE, facts)
            sync_tree(staging)
            staging.rename(staging.parent / name)
            sync_dir(staging.parent)
        return Dataset(name, staging.parent / name, facts)


def _to_json(table: DataTable, row: int) -> dict[str, object]:
    cells: dict[str, object] = {}
    if table.times is not None:
        cells[str(table.time_column)] = format_nanoseconds(int(table.times[row]))
    for name, value in zip(table.columns, table.values[row], strict=True):
        cells[name] = None if np.isnan(value) else float(value)
    return cells
