"""Whether the data files that models train on can be read. A file is read again only after it has changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from errors import DataFileInvalid, MillwrightError
from prediction import registry
from prediction.contract import ModelKey
from storage.container import Storage
from storage.filesystem.files import FileSignature, stat_signature

log = structlog.get_logger()

UNREADABLE: Final = "one of its data files cannot be opened; the log says why"


class DataHealth:
    """The data files of models, as they are on the disk now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._checked: dict[ModelKey, tuple[Sequence[FileSignature], str | None]] = {}

    def problems(self) -> list[str]:
        """Return a sentence for each family of the default tenant whose files keep it from being trained."""
        problems = {family: self.problem(ModelKey(family)) for family in registry.FAMILIES}
        return [f"{family} cannot be trained: {problem}" for family, problem in problems.items() if problem]

    def problem(self, key: ModelKey) -> str | None:
        """Return what is wrong with a model's files, without their folder; None if nothing is."""
        settings = self._storage.settings
        records = registry.open_record_store(key.family, settings.data_dir, self._storage.database)
        files = records.data_files(key)
        if not files:
            return None
        try:
            signatures = _signatures(files)
            checked, problem = self._checked.get(key, (None, None))
            if checked != signatures:
                problem = None
                try:
                    records.check_data(key, adopt=False)
                except DataFileInvalid as error:
                    problem = error.message
                if _signatures(files) != signatures:
                    return None  # somebody is writing to them
                self._checked[key] = signatures, problem
            return problem
        except MillwrightError as error:
            log.error("data_file_not_opened", model=str(key), reason=error.message)
            return UNREADABLE


def _signatures(files: list[Path]) -> Sequence[FileSignature]:
    return [stat_signature(file) for file in files]
