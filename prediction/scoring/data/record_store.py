"""Store the records of training requests in the plant's CSV files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from errors import NotFound
from prediction.contract import (
    DataSource,
    ModelKey,
    NewRecords,
    QuarantinedBatch,
    Record,
    RecordBatch,
    RecordStore,
    TrainingSource,
)
from prediction.scoring.requests.id_spelling import fold_spelling, may_stand_for_others
from prediction.scoring.requests.record_validation import STORED_TIME
from storage.anomaly_reports.csv_store import CsvStore, list_ids
from storage.anomaly_reports.record_raters import RATERS_FILE
from storage.anomaly_reports.reports import AnomalyReports
from storage.journal_steps import DataChanges

MIN_RECORDS = 10


class ScoringRecordStore(RecordStore):
    """Anomaly reports with their three expert scores."""

    def select_new(self, key: ModelKey, batch: RecordBatch) -> NewRecords:
        hashes = self._csv_store(key).record_hashes()
        stored = hashes.newest
        new: list[Record] = []
        skipped = corrections = 0
        outdated: list[str] = []
        spellings: dict[str, list[str]] = {}
        for name in stored:
            spellings.setdefault(fold_spelling(name), []).append(name)
        similar: list[str] = []
        doubtful: list[str] = []
        now = datetime.now(UTC).strftime(STORED_TIME)
        for record in batch.records:
            sha256 = stored.get(record["anomaly_id"])
            if sha256 == record["record_sha256"]:
                skipped += 1
                continue
            if record["record_sha256"] in hashes.all.get(record["anomaly_id"], ()):
                skipped += 1
                outdated.append(record["anomaly_id"])
                continue
            corrections += sha256 is not None
            known = spellings.get(fold_spelling(record["anomaly_id"]), [])
            if sha256 is None and known:
                similar.append(f"{record['anomaly_id']!r} beside {known[0]!r}")
            elif sha256 is not None and (len(known) > 1 or may_stand_for_others(record["anomaly_id"])):
                doubtful.append(repr(record["anomaly_id"]))
            stored[record["anomaly_id"]] = record["record_sha256"]
            new.append({**record, "detected_at": record["detected_at"] or now})
        notes = tuple(_describe_unusual_ids(outdated, similar, doubtful))
        return NewRecords(new, skipped, corrections, notes)

    def data_files(self, key: ModelKey) -> list[Path]:
        return self._csv_store(key).files()

    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        return self._csv_store(key).check(adopt)

    def plan_append(
        self, key: ModelKey, new: Sequence[Record], session_id: int, quarantined: bool = False
    ) -> DataChanges:
        return DataChanges(appends=self._csv_store(key).plan_append(new, session_id, quarantined))

    def plan_release(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        return DataChanges(moves=self._csv_store(key).plan_release(session_id, staging))

    def list_quarantined(self, key: ModelKey) -> list[QuarantinedBatch]:
        return [QuarantinedBatch(*batch) for batch in self._csv_store(key).list_quarantined()]

    def names_raters(self, key: ModelKey) -> bool:
        return (csv_folder(self.data_dir, key) / RATERS_FILE).exists()

    def plan_removal(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        return self._csv_store(key).plan_removal(session_id, staging)

    def on_commit(self, key: ModelKey) -> None:
        self._csv_store(key).note_committed()

    def has_enough(self, key: ModelKey) -> bool:
        return len(self.read(key)) >= MIN_RECORDS

    def read(self, key: ModelKey) -> AnomalyReports:
        """Return the stored reports.

        Raises
        ------
        DataFileInvalid
            A file cannot be read; the message names file and line.
        """
        return self._csv_store(key).read()

    def _csv_store(self, key: ModelKey) -> CsvStore:
        return CsvStore(csv_folder(self.data_dir, key), home=self.data_dir.parent)


class ScoringDataSource(DataSource):
    """The CSV files, or staged copies of them, and the records of the session."""

    def check_key(self, key: ModelKey) -> None:
        if key.name != "default":
            raise NotFound(f"The scoring family has one model, scoring/default; there is no {key}")

    def training_source(
        self, key: ModelKey, pending: Path | None, staged: Path | None = None
    ) -> TrainingSource:
        return {
            "folder": str(csv_folder(self.data_dir, key)),
            "staged": str(staged) if staged else None,
            "pending": str(pending) if pending else None,
        }


def _describe_unusual_ids(
    outdated: Sequence[str], similar: Sequence[str], doubtful: Sequence[str]
) -> Iterator[str]:
    """Yield a note for each kind of records whose ids a person should look at."""
    if outdated:
        yield (
            f"{len(outdated)} records were left out: the same content was stored before and then corrected or undone "
            f"({list_ids(outdated)}). Change a field to store it again"
        )
    if similar:
        yield (
            f"{len(similar)} records have an anomaly_id that differs from a stored one in spelling only, such as "
            f"blanks, case or leading zeros ({list_ids(similar)}): they are stored as reports of their own, not as "
            "corrections"
        )
    if doubtful:
        yield (
            f"{len(doubtful)} records count as corrections, and a spreadsheet may have changed their anomaly_id "
            f"({list_ids(doubtful)}): check that they are the same reports, and undo the session if not"
        )


def csv_folder(data_dir: Path, key: ModelKey) -> Path:
    """Return the folder of a tenant's CSV files."""
    # Those of the default tenant are in ``data/`` itself, where the plant put them.
    return data_dir if key.tenant == "default" else data_dir / "tenants" / key.tenant
