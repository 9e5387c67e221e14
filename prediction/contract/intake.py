"""The three web-side classes of a family in one, until each family has split its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prediction.contract.records import DataSource, NoRecords
from prediction.contract.requests import RequestParser

if TYPE_CHECKING:
    from storage.db.database import Database


class Intake(RequestParser, NoRecords, DataSource):
    """Parser, record store and data source of a family in one class."""

    def __init__(self, data_dir: Path | None = None, database: Database | None = None) -> None:
        super().__init__(data_dir or Path(), database)
