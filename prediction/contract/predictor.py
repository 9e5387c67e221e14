"""The serving half of a family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prediction.contract.keys import JSON

T = TypeVar("T")


class Resources:
    """Objects that several predictors or trainings of one process share, each made on first use.

    ``cache_dir`` is for derived data that may be deleted at any time; ``sentence_model`` is that setting.
    """

    def __init__(self, cache_dir: Path, sentence_model: str = "none") -> None:
        self.cache_dir = cache_dir
        self.sentence_model = sentence_model
        self._objects: dict[str, Any] = {}

    def get_or_create(self, name: str, create: Callable[[], T]) -> T:
        """Return the object of that name; create it on first use."""
        if name not in self._objects:
            self._objects[name] = create()
        shared: T = self._objects[name]
        return shared


class Predictor(ABC):
    """One loaded version. Its module imports neither torch nor scikit-learn and unpickles nothing."""

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        """Load what every version needs, before one is known."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, resources: Resources) -> Predictor:
        """Read the folder of a version whose hashes have been checked."""

    @abstractmethod
    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """Return one JSON prediction for each input, in order."""
