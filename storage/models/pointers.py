"""The small files that say which versions serve: a pointer for each model, and the epoch of reloads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from errors import ArtefactCorrupt, NotFound, StorageFailed
from storage.filesystem.files import make_folders, read_regular_file, write_atomic

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
MODEL_PATH: Final = re.compile(rf"{_PART}/{_PART}/{_PART}", re.ASCII)


class Pointers:
    """The live pointers below ``models/``. Only the journal moves one."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir

    def pointer(self, path: str) -> int | None:
        """The number of a model's champion; None where it has none.

        Raises
        ------
        NotFound
            ``path`` is no model's path.
        ArtefactCorrupt
            The pointer file cannot be read as one.
        """
        return _number(self.pointer_file(path), "version")

    def read_pointers(self, paths: Iterable[str]) -> tuple[dict[str, int | None], list[str]]:
        """What the pointers of many models say, and the paths of the damaged ones: one hides no other."""
        found: dict[str, int | None] = {}
        damaged = []
        for path in paths:
            try:
                found[path] = self.pointer(path)
            except ArtefactCorrupt:
                damaged.append(path)
        return found, damaged

    def pointer_file(self, path: str) -> Path:
        """The pointer: replaced as a whole, so that one ``stat`` tells whether it moved."""
        return self._model(path) / "champion.json"

    def point(self, path: str, number: int | None, *, durable: bool = True) -> None:
        """Make a version the champion, or none. For the journal alone: anything else would bypass the commit.

        Raises
        ------
        DiskFull, StorageFailed
            The old champion still is.
        """
        _write_numbers(self.pointer_file(path), {"version": number}, durable=durable)

    def epoch(self) -> int:
        """How often workers have been told that pointers moved."""
        return _number(self._epoch_file, "epoch") or 0

    def reload_epoch(self) -> int:
        """The last epoch at which they were told to load everything again, moved or not."""
        return _number(self._epoch_file, "reload") or 0

    def raise_epoch(self, reload: bool = True) -> int:
        """Tell all workers to load what has moved, or everything; the new epoch. Hold the store lock."""
        epoch = self.epoch() + 1
        reloaded = epoch if reload else self.reload_epoch() or None
        _write_numbers(self._epoch_file, {"epoch": epoch, "reload": reloaded})
        return epoch

    @property
    def _epoch_file(self) -> Path:
        return self.models_dir / "epoch.json"

    def _model(self, path: str) -> Path:
        if not MODEL_PATH.fullmatch(path):
            raise NotFound("There is no model of that name")
        return self.models_dir / path


def _number(file: Path, name: str) -> int | None:
    if not file.exists():
        return None
    try:
        number: Any = json.loads(read_regular_file(file, 1000))[name]
    except StorageFailed:
        if file.exists():
            raise
        return None  # it vanished between two looks
    except (ValueError, TypeError, KeyError) as error:
        raise ArtefactCorrupt(f"{file} is damaged: it names no {name}") from error
    if number is None or (type(number) is int and number > 0):
        return number
    raise ArtefactCorrupt(f"{file} is damaged: it names no {name}")


def _write_numbers(file: Path, numbers: dict[str, int | None], *, durable: bool = True) -> None:
    make_folders(file.parent)
    write_atomic(file, json.dumps(numbers).encode() + b"\n", durable=durable)
