"""Datasets on disk: ``data/datasets/<tenant>/<id>/`` with plain arrays that training maps into memory.

A dataset is a table (CSV, Parquet) or recordings (a zip archive of CSV and WAV files).
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from errors import BodyTooLarge, InvalidContent, NotFound
from storage.datasets.archive import FolderFiles, open_archive
from storage.datasets.recordings import collection, recording_validation
from storage.datasets.recordings.collection import RecordingBuilder, Recordings
from storage.datasets.recordings.recording_csv import UploadHints
from storage.datasets.recordings.spectrogram_csv import WAVEFORMS
from storage.datasets.tables.reading import read_table
from storage.datasets.tables.repair import apply_fixes
from storage.datasets.tables.table import DataTable, describe_table, format_nanoseconds
from storage.datasets.tables.validation import validate_table
from storage.filesystem.files import (
    remove_tree,
    storage_errors,
    sync_dir,
    sync_tree,
    temporary_path,
    write_atomic,
)

MAX_DATASET_BYTES: Final = 1_000_000_000
_ID: Final = re.compile(r"ds-[0-9a-f]{12}", re.ASCII)
_CHUNK: Final = 1 << 20
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
TABLE: Final = "table"
RECORDINGS: Final = "recordings"


@dataclass(frozen=True)
class Dataset:
    """One upload: a table, or recordings.

    Parameters
    ----------
    facts : dict
        ``id, kind, name, created_at, sha256, rows, columns, types, time_column, frequency_seconds, first,
        last, findings, parent, fixes``; for recordings also ``content`` (waveforms or spectrograms),
        ``recordings`` (their number), ``labels``, ``specimens`` and ``sampling_rate_hz``.
    """

    id: str
    folder: Path
    facts: dict[str, Any]

    @property
    def kind(self) -> str:
        """``"table"`` or ``"recordings"``."""
        return str(self.facts.get("kind", TABLE))

    def expect(self, kind: str) -> Dataset:
        """This dataset; InvalidContent where it is of the other kind."""
        if self.kind != kind:
            wanted = "a table" if kind == TABLE else "recordings (a zip of CSV or WAV files)"
            raise InvalidContent(f"Dataset {self.id} is of kind {self.kind}; this needs {wanted}")
        return self

    def recordings(self) -> Recordings:
        """The recordings, mapped from disk."""
        self.expect(RECORDINGS)
        with storage_errors(self.folder):
            return collection.load_recordings(
                self.folder, self.facts["columns"], self.facts.get("content", WAVEFORMS)
            )

    def table(self) -> DataTable:
        """The numbers, mapped from disk: a row is read when it is looked at."""
        self.expect(TABLE)
        values: NDArray[np.float64] = np.load(self.folder / "values.npy", mmap_mode="r", allow_pickle=False)
        times = self.folder / "times.npy"
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
    largest_bytes : int
        Limit of an upload, also of what a gzipped one unfolds to.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_DATASET_BYTES) -> None:
        self.folder = folder
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
        home = self._home(tenant)
        made = temporary_path(home, "staging")
        with storage_errors(made):
            made.mkdir(parents=True)
        try:
            digest = self._received(stream, made / "upload")
            about: dict[str, Any] = {"name": name, "sha256": digest, "parent": None, "fixes": []}
            if _begins(made / "upload", _ZIP):
                with open_archive(made / "upload", self.max_bytes) as files, storage_errors(made):
                    gathered = collection.read_recordings(files, hints or UploadHints(), made)
                (made / "upload").unlink()
                return self._kept_recordings(made, gathered, about)
            table = read_table(made / "upload", self.max_bytes)
            for file in made.iterdir():
                file.unlink()
            return self._kept(made, table, about)
        finally:
            remove_tree(made)

    def receive_folder(
        self, folder: Path, tenant: str = "default", hints: UploadHints | None = None
    ) -> Dataset:
        """Store the recordings of a folder of this machine; errors as for an upload."""
        made = temporary_path(self._home(tenant), "staging")
        with storage_errors(made):
            made.mkdir(parents=True)
        try:
            with storage_errors(folder):
                gathered = collection.read_recordings(FolderFiles(folder), hints or UploadHints(), made)
            digest = hashlib.sha256(collection.listed(gathered)).hexdigest()
            about: dict[str, Any] = {"name": folder.name, "sha256": digest, "parent": None, "fixes": []}
            return self._kept_recordings(made, gathered, about)
        finally:
            remove_tree(made)

    def fix(self, dataset_id: str, fixes: Sequence[str], tenant: str = "default") -> Dataset:
        """A new dataset: the given one with fixes applied.

        Raises
        ------
        NotFound, InvalidContent
            There is no such dataset or fix, or the fix does not suit it.
        """
        parent = self.get(dataset_id, tenant)
        table = apply_fixes(parent.table(), fixes)
        digest = hashlib.sha256(np.ascontiguousarray(table.values).tobytes()).hexdigest()
        made = temporary_path(self._home(tenant), "staging")
        with storage_errors(made):
            made.mkdir()
        try:
            about = {
                "name": parent.facts["name"],
                "sha256": digest,
                "parent": parent.id,
                "fixes": list(fixes),
            }
            return self._kept(made, table, about)
        finally:
            remove_tree(made)

    def get(self, dataset_id: str, tenant: str = "default") -> Dataset:
        """A dataset of this tenant; NotFound where there is none."""
        folder = self.folder / tenant / dataset_id
        if not _ID.fullmatch(dataset_id) or not (folder / "dataset.json").is_file():
            raise NotFound(f"There is no dataset {dataset_id!r}")
        with storage_errors(folder):
            return Dataset(dataset_id, folder, json.loads((folder / "dataset.json").read_bytes()))

    def list(self, tenant: str = "default") -> list[Dataset]:
        """All datasets of a tenant, the newest first."""
        home = self.folder / tenant
        names = [entry.name for entry in home.iterdir() if _ID.fullmatch(entry.name)] if home.is_dir() else []
        found = [self.get(name, tenant) for name in names]
        return sorted(found, key=lambda dataset: (dataset.facts["created_at"], dataset.id), reverse=True)

    def delete(self, dataset_id: str, tenant: str = "default") -> None:
        """Remove a dataset; models trained on it stay."""
        remove_tree(self.get(dataset_id, tenant).folder)

    def preview(
        self, dataset_id: str, tenant: str = "default", first: int = 0, count: int = 50
    ) -> dict[str, Any]:
        """Some rows as JSON: the time as RFC 3339 and the numbers, null where there is none.

        Of recordings, some entries of their list.
        """
        dataset = self.get(dataset_id, tenant)
        if dataset.kind == RECORDINGS:
            known = json.loads((dataset.folder / collection.LIST_FILE).read_bytes())
            return {"first_row": first + 1, "rows": known[first : first + count], "total_rows": len(known)}
        table = dataset.table()
        rows = range(first, min(table.rows, first + count))
        return {"first_row": first + 1, "rows": [_row(table, row) for row in rows], "total_rows": table.rows}

    def _home(self, tenant: str) -> Path:
        home = self.folder / tenant
        with storage_errors(home):
            home.mkdir(parents=True, exist_ok=True)
        return home

    def _received(self, stream: IO[bytes], target: Path) -> str:
        digest, size = hashlib.sha256(), 0
        with storage_errors(target), target.open("wb") as file:
            while block := stream.read(_CHUNK):
                size += len(block)
                if size > self.max_bytes:
                    raise BodyTooLarge(self.limit_message)
                digest.update(block)
                file.write(block)
        if not size:
            raise InvalidContent("The file is empty")
        return digest.hexdigest()

    def _kept(self, made: Path, table: DataTable, about: dict[str, Any]) -> Dataset:
        """Write a table's arrays and its report."""
        table = replace(table, values=np.ascontiguousarray(table.values))
        facts = {
            "kind": TABLE,
            **about,
            **describe_table(table),
            "numeric": list(table.columns),
            "texts": list(table.texts),
            "findings": [finding.to_dict() for finding in validate_table(table)],
        }
        with storage_errors(made):
            np.save(made / "values.npy", table.values, allow_pickle=False)
            if table.times is not None:
                np.save(made / "times.npy", table.times, allow_pickle=False)
        return self._named(made, facts)

    def _kept_recordings(self, made: Path, gathered: RecordingBuilder, about: dict[str, Any]) -> Dataset:
        """Write the list of recordings and the report; their samples are there already."""
        facts = {
            "kind": RECORDINGS,
            **about,
            **collection.describe_recordings(gathered),
            "numeric": [],
            "texts": [],
            "findings": [finding.to_dict() for finding in recording_validation.validate_recordings(gathered)],
        }
        write_atomic(made / collection.LIST_FILE, collection.listed(gathered))
        return self._named(made, facts)

    def _named(self, made: Path, facts: dict[str, Any]) -> Dataset:
        """Give the folder its name: whole or absent."""
        name = f"ds-{secrets.token_hex(6)}"
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        facts = {"id": name, "created_at": created, **facts}
        with storage_errors(made):
            write_atomic(made / "dataset.json", json.dumps(facts).encode())
            sync_tree(made)
            made.rename(made.parent / name)
            sync_dir(made.parent)
        return Dataset(name, made.parent / name, facts)


def _begins(path: Path, magic: tuple[bytes, ...]) -> bool:
    with path.open("rb") as opened:
        return opened.read(4) in magic


def _row(table: DataTable, row: int) -> dict[str, Any]:
    time = {} if table.times is None else {str(table.time_column): format_nanoseconds(int(table.times[row]))}
    numbers = {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(table.columns, table.values[row], strict=True)
    }
    return {**time, **numbers}
