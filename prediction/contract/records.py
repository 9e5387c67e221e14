"""The stored data of a family's models: the records that clients send, and what a training reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from errors import Conflict, InvalidContent
from prediction.contract.keys import ModelKey, Options, Record, TrainingSource
from prediction.contract.requests import RecordBatch
from storage.journal_steps import DataChanges

if TYPE_CHECKING:
    from storage.db.database import Database


@dataclass(frozen=True)
class NewRecords:
    """The records of a batch that change something, determined with the training lock held.

    Parameters
    ----------
    notes : tuple of str
        Sentences about records that were left out for another reason than being stored already.
    """

    new: Sequence[Record]
    skipped: int = 0
    corrections: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuarantinedBatch:
    """Records of a rejected session that no training reads until somebody accepts them.

    Parameters
    ----------
    records : int
        Those still waiting: corrected ones do not count.
    since : str
        When the session was rejected, ``YYYY-MM-DD HH:MM:SS`` in UTC.
    """

    session_id: int
    records: int
    since: str


class RecordStore(ABC):
    """The data files of a family that is trained with records from clients."""

    def __init__(self, data_dir: Path, database: Database | None = None) -> None:
        self.data_dir = data_dir
        self.database = database

    @abstractmethod
    def select_new(self, key: ModelKey, batch: RecordBatch) -> NewRecords:
        """Leave out records that are stored already. The model's training lock is held."""

    @abstractmethod
    def data_files(self, key: ModelKey) -> list[Path]:
        """Return the data files of a model: backed up before a session, restored with it."""

    @abstractmethod
    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        """Return notes on files that were edited by hand, and adopt the edits if asked to; else on missing files.

        Raises
        ------
        DataFileInvalid
            A file cannot be read.
        """

    @abstractmethod
    def plan_append(
        self, key: ModelKey, new: Sequence[Record], session_id: int, quarantined: bool = False
    ) -> DataChanges:
        """Return the appends that store the new records.

        Quarantined ones are stored with a mark, and no training reads them.
        """

    @abstractmethod
    def plan_release(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        """Stage files without the quarantine marks of a session and return the moves.

        Raises
        ------
        Conflict
            No records of the session are quarantined.
        """

    @abstractmethod
    def list_quarantined(self, key: ModelKey) -> list[QuarantinedBatch]:
        """Return the batches that wait to be accepted, oldest first."""

    def names_raters(self, key: ModelKey) -> bool:
        """Return whether stored records may say who labelled them."""
        return False

    @abstractmethod
    def plan_removal(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        """Stage files without the records of a session and return the moves.

        Raises
        ------
        Conflict
            No records of the session are stored.
        """

    def on_commit(self, key: ModelKey) -> None:
        """Update notes about the data files after the journal has changed them."""

    @abstractmethod
    def has_enough(self, key: ModelKey) -> bool:
        """Return whether a first training at start could succeed."""


class NoRecords(RecordStore):
    """The record store of a family that trains from the database or from a dataset.

    What such a family reads is stored by routes of its own, whether or not anybody trains. Its sessions bring no
    rows, so a rejected one leaves none behind and nothing is ever in quarantine.
    """

    def select_new(self, key: ModelKey, batch: RecordBatch) -> NewRecords:
        return NewRecords(batch.records)

    def data_files(self, key: ModelKey) -> list[Path]:
        return []

    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        return []

    def plan_append(
        self, key: ModelKey, new: Sequence[Record], session_id: int, quarantined: bool = False
    ) -> DataChanges:
        if new:
            raise InvalidContent(f"{key.family} trains from stored data and keeps no records of a session")
        return DataChanges()

    def plan_release(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        raise Conflict(f"No records of session {session_id} are quarantined")

    def list_quarantined(self, key: ModelKey) -> list[QuarantinedBatch]:
        return []

    def plan_removal(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        raise InvalidContent(f"{key.family} keeps no records of a session that could be taken out")

    def has_enough(self, key: ModelKey) -> bool:
        return False


class DataSource(ABC):
    """What the models of a family are trained on, and what requests may refer to by name."""

    def __init__(self, data_dir: Path, database: Database | None = None) -> None:
        self.data_dir = data_dir
        self.database = database

    def resolve_name(self, name: str, tenant: str) -> str:
        """Return the name of a model that people may also name otherwise; NotFound where it names nothing."""
        return name

    def check_key(self, key: ModelKey) -> None:
        """Raise NotFound where the family has no model of that name."""

    def check_options(self, key: ModelKey, options: Options) -> None:
        """Raise where valid options name data that the model's tenant does not have."""

    def resolve_inputs(self, key: ModelKey, batch: RecordBatch, facts: Mapping[str, object]) -> RecordBatch:
        """Replace names in inputs by the stored data of the model's tenant; NotFound where it has none.

        Parameters
        ----------
        facts : mapping
            What the manifest of the version that answers says of its training data.
        """
        return batch

    @abstractmethod
    def training_source(
        self, key: ModelKey, pending: Path | None, staged: Path | None = None
    ) -> TrainingSource:
        """Describe where the child reads: live files (or ``staged`` ones) and the pending records."""
