"""What a client may send to the scoring family, and which files it changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from marshmallow import fields, validate

from errors import NotFound
from prediction.contract import JSON, Intake, ModelKey, NewRecords, RecordBatch
from prediction.options import TrackedOptions, load_options
from prediction.records.parsing import CsvRows
from prediction.scoring.requests import record_validation
from prediction.scoring.requests.column_mapping import map_row
from storage.anomaly_reports.csv_store import CsvStore
from storage.journal_steps import DataChanges

MIN_RECORDS = 10


class ScoringOptions(TrackedOptions):
    """Options of a scoring training."""

    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))
    coverage = fields.Float(load_default=0.9, validate=validate.Range(0.5, 0.99))


class ScoringIntake(Intake):
    """Anomaly reports with their three expert scores, kept in the plant's CSV files."""

    def check_key(self, key: ModelKey) -> None:
        if key.name != "default":
            raise NotFound(f"The scoring family has one model, scoring/default; there is no {key}")

    def has_download(self, file_name: str) -> bool:
        from prediction.scoring.serving.downloads import DOWNLOAD_NAMES

        return file_name in DOWNLOAD_NAMES

    def parse_records(self, raw: Any) -> RecordBatch:
        return record_validation.parse_scored_reports(_told(raw))

    def parse_options(self, raw: JSON) -> JSON:
        return load_options(ScoringOptions, raw)

    def parse_inputs(self, raw: Any) -> RecordBatch:
        return record_validation.reports(_told(raw))

    def select_new(self, key: ModelKey, batch: RecordBatch) -> NewRecords:
        known = self._store(key).known_ids()
        new: list[JSON] = []
        skipped = corrections = 0
        now = datetime.now(UTC).strftime(record_validation.STORED_TIME)
        for record in batch.records:
            stored = known.get(record["anomaly_id"])
            if stored == record["record_sha256"]:
                skipped += 1
                continue
            corrections += stored is not None
            known[record["anomaly_id"]] = record["record_sha256"]
            new.append({**record, "detected_at": record["detected_at"] or now})
        return NewRecords(new, skipped, corrections)

    def data_files(self, key: ModelKey) -> list[Path]:
        return self._store(key).files()

    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        return self._store(key).check(adopt)

    def plan_append(self, key: ModelKey, new: Sequence[JSON], session_id: int) -> DataChanges:
        return DataChanges(appends=self._store(key).appends(new, session_id))

    def plan_removal(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        return DataChanges(moves=self._store(key).removal(session_id, staging))

    def on_commit(self, key: ModelKey) -> None:
        self._store(key).note_committed()

    def training_source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
        folder = staged or self._folder(key)
        return {"folder": str(folder), "pending": str(pending) if pending else None}

    def has_enough(self, key: ModelKey) -> bool:
        return len(self._store(key).read()) >= MIN_RECORDS

    def _store(self, key: ModelKey) -> CsvStore:
        return CsvStore(self._folder(key), home=self.data_dir.parent)

    def _folder(self, key: ModelKey) -> Path:
        """The default tenant's files lie in ``data/`` itself, where the plant put them."""
        return self.data_dir if key.tenant == "default" else self.data_dir / "tenants" / key.tenant


def _told(raw: Any) -> Any:
    """Rows of a table as records of the API; everything else as it is."""
    return [map_row(row) for row in raw] if isinstance(raw, CsvRows) else raw
