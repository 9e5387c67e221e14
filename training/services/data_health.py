"""Whether the data files that a model trains on can be read: looked at again only when one has changed."""

from __future__ import annotations

from pathlib import Path

import structlog

from errors import DataFileInvalid, MillwrightError
from prediction import registry
from prediction.contract import ModelKey, RecordStore
from storage.container import Storage
from storage.filesystem.files import FileSignature, stat_signature

Signs = list[FileSignature]

log = structlog.get_logger()

UNOPENED = "one of its data files cannot be opened; the log says why"


class DataHealth:
    """The data files of models, as they lie on the disk now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._seen: dict[ModelKey, tuple[Signs, str | None]] = {}

    def problems(self) -> list[str]:
        """A sentence for each family of the default tenant that cannot be trained because of its files."""
        found = ((family, self.problem(ModelKey(family))) for family in registry.FAMILIES)
        return [f"{family} cannot be trained: {problem}" for family, problem in found if problem]

    def problem(self, key: ModelKey) -> str | None:
        """What is wrong with a model's files, without their place; None where nothing is."""
        intake = registry.open_record_store(
            key.family, self._storage.settings.data_dir, self._storage.database
        )
        files = intake.data_files(key)
        if not files:
            return None
        try:
            signs = _signs(files)
            signs_seen, problem = self._seen.get(key, (None, None))
            if signs_seen != signs:
                problem = _read(intake, key)
                if _signs(files) != signs:
                    return None  # somebody is writing to them
                self._seen[key] = signs, problem
            return problem
        except MillwrightError as error:
            log.error("data_file_not_opened", model=str(key), reason=error.message)
            return UNOPENED


def _signs(files: list[Path]) -> Signs:
    return [stat_signature(file) for file in files]


def _read(intake: RecordStore, key: ModelKey) -> str | None:
    try:
        intake.check_data(key, adopt=False)
    except DataFileInvalid as error:
        return error.message
    return None
