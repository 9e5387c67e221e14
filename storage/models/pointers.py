"""Pointer files: one per model names its champion, one counts how often workers had to reload."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from errors import ArtefactCorrupt, NotFound, StorageFailed
from storage.filesystem.checked_write import write_json
from storage.filesystem.files import make_folders, read_regular_file, storage_errors

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
MODEL_PATH: Final = re.compile(rf"{_NAME}/{_NAME}/{_NAME}", re.ASCII)


class Pointers:
    """The pointers below ``models/``. Only the journal changes them."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir

    def pointer(self, path: str) -> int | None:
        """Return the number of a model's champion; None where it has none.

        Raises
        ------
        NotFound
            ``path`` is not the path of a model.
        ArtefactCorrupt
            The pointer file is damaged.
        """
        return _read_number(self.pointer_file(path), "version")

    def read_pointers(self, paths: Iterable[str]) -> tuple[dict[str, int | None], list[str]]:
        """Return the champions of many models, and the paths of those whose pointer is damaged."""
        numbers: dict[str, int | None] = {}
        damaged = []
        for path in paths:
            try:
                numbers[path] = self.pointer(path)
            except ArtefactCorrupt:
                damaged.append(path)
        return numbers, damaged

    def pointer_file(self, path: str) -> Path:
        """Return the pointer file. It is replaced as a whole, so one ``stat`` shows whether it changed."""
        return self._model_dir(path) / "champion.json"

    def set_champion(self, path: str, number: int | None, *, durable: bool = True) -> None:
        """Make a version the champion, or none. For the journal only: anything else bypasses the commit.

        Raises
        ------
        DiskFull, StorageFailed
            The champion is still the one before.
        """
        file = self.pointer_file(path)
        make_folders(file.parent)
        write_json(file, {"version": number}, durable=durable)

    def epoch(self) -> int:
        """Return how often workers have been told that pointers changed."""
        return _read_number(self._epoch_file, "epoch") or 0

    def reload_epoch(self) -> int:
        """Return the last epoch at which workers had to load all models again, changed or not."""
        return _read_number(self._epoch_file, "reload") or 0

    def raise_epoch(self, reload: bool = True) -> int:
        """Tell all workers to load what has changed, or everything. The caller holds the store lock.

        Returns
        -------
        int
            The new epoch.
        """
        epoch = self.epoch() + 1
        make_folders(self.models_dir)
        write_json(
            self._epoch_file, {"epoch": epoch, "reload": epoch if reload else self.reload_epoch() or None}
        )
        return epoch

    @property
    def _epoch_file(self) -> Path:
        return self.models_dir / "epoch.json"

    def _model_dir(self, path: str) -> Path:
        if not MODEL_PATH.fullmatch(path):
            raise NotFound("There is no model of that name")
        return self.models_dir / path


def _read_number(file: Path, name: str) -> int | None:
    with storage_errors(file):
        if not file.exists():
            return None
    try:
        number = json.loads(read_regular_file(file, 1000))[name]
    except StorageFailed:
        if file.exists():
            raise
        return None  # it was deleted after the check above
    except (ValueError, TypeError, KeyError) as error:
        raise ArtefactCorrupt(f"{_describe(file)} is damaged: it has no {name}") from error
    if number is None or (type(number) is int and number > 0):
        return number
    raise ArtefactCorrupt(f"{_describe(file)} is damaged: it has no valid {name}")


def _describe(file: Path) -> str:
    """Return a pointer file as sentences name it: without the folder of the home, because clients read them."""
    return f"{file.parent.name}/{file.name}"
