"""What a client may send to the scoring family, and which files it changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from marshmallow import fields, validate

from errors import NotFound
from prediction.contract import JSON, Batch, Intake, ModelKey, Selection
from prediction.options import TrackedOptions, load_options
from prediction.record_lines import Rows
from prediction.scoring import records
from prediction.scoring.columns import record_of
from storage.csv_store import SCORES, CsvStore

FEWEST_RECORDS = 10


class ScoringOptions(TrackedOptions):
    """Options of a scoring training."""

    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))
    coverage = fields.Float(load_default=0.9, validate=validate.Range(0.5, 0.99))


class ScoringIntake(Intake):
    """Anomaly reports with their three expert scores, kept in the plant's CSV files."""

    family: ClassVar[str] = "scoring"
    parts: ClassVar[tuple[str, ...]] = SCORES

    def check_key(self, key: ModelKey) -> None:
        if key.name != "default":
            raise NotFound(f"The scoring family has one model, scoring/default; there is no {key}")

    def offers(self, file_name: str) -> bool:
        from prediction.scoring.downloads import NAMES

        return file_name in NAMES

    def validate(self, raw: Any) -> Batch:
        return records.scored_reports(_told(raw))

    def options(self, raw: JSON) -> JSON:
        return load_options(ScoringOptions, raw)

    def inputs(self, raw: Any) -> Batch:
        return records.reports(_told(raw))

    def select(self, key: ModelKey, batch: Batch) -> Selection:
        known = self._store(key).known_ids()
        new: list[JSON] = []
        skipped = corrections = 0
        now = datetime.now(UTC).strftime(records.STORED_TIME)
        for record in batch.records:
            stored = known.get(record["anomaly_id"])
            if stored == record["record_sha256"]:
                skipped += 1
                continue
            corrections += stored is not None
            known[record["anomaly_id"]] = record["record_sha256"]
            new.append({**record, "detected_at": record["detected_at"] or now})
        return Selection(new, skipped, corrections)

    def data_files(self, key: ModelKey) -> list[Path]:
        return self._store(key).files()

    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        return self._store(key).check(adopt)

    def changes(self, key: ModelKey, new: Sequence[JSON], session_id: int) -> JSON:
        return {"appends": self._store(key).appends(new, session_id)}

    def removal(self, key: ModelKey, session_id: int, staging: Path) -> JSON:
        return {"moves": self._store(key).removal(session_id, staging)}

    def committed(self, key: ModelKey) -> None:
        self._store(key).note_committed()

    def source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
        folder = staged or self._folder(key)
        return {"folder": str(folder), "pending": str(pending) if pending else None}

    def has_enough(self, key: ModelKey) -> bool:
        return len(self._store(key).read()) >= FEWEST_RECORDS

    def _store(self, key: ModelKey) -> CsvStore:
        return CsvStore(self._folder(key), home=self.data_dir.parent)

    def _folder(self, key: ModelKey) -> Path:
        """The default tenant's files lie in ``data/`` itself, where the plant put them."""
        return self.data_dir if key.tenant == "default" else self.data_dir / "tenants" / key.tenant


def _told(raw: Any) -> Any:
    """Rows of a table as records of the API; everything else as it is."""
    return [record_of(row) for row in raw] if isinstance(raw, Rows) else raw
