"""The serving half of a family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeAlias, TypeVar, cast

from prediction.contract.keys import Options

T = TypeVar("T")
InputT = TypeVar("InputT")
PredictionT = TypeVar("PredictionT", bound=Mapping[str, object])


class Resources:
    """Objects that several predictors or trainings of one process share, each made on first use.

    ``cache_dir`` is for derived data that may be deleted at any time; ``sentence_model`` is that setting.
    """

    def __init__(self, cache_dir: Path, sentence_model: str = "none") -> None:
        self.cache_dir = cache_dir
        self.sentence_model = sentence_model
        self._objects: dict[str, object] = {}

    def get_or_create(self, name: str, create: Callable[[], T]) -> T:
        """Return the object of that name; create it on first use."""
        if name not in self._objects:
            self._objects[name] = create()
        return cast("T", self._objects[name])


class Predictor(ABC, Generic[InputT, PredictionT]):
    """One loaded version. Its module imports neither torch nor scikit-learn and unpickles nothing.

    ``InputT`` is what the family's ``parse_inputs`` makes of one input of a request, ``PredictionT`` the answer to it
    as clients get it.
    """

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        """Load what every version needs, before one is known."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
        """Read the folder of a version whose hashes have been checked."""

    @abstractmethod
    def predict(self, inputs: Sequence[InputT], options: Options) -> list[PredictionT]:
        """Return one prediction for each input, in order."""

    def limitation(self) -> str:
        """Return what answers lack until it has been computed again, as a sentence; empty where they lack nothing."""
        return ""

    def rebuild(self, may_compute: bool) -> bool:
        """Take up what a cache holds again, and compute a part of what it lacks.

        Parameters
        ----------
        may_compute : bool
            False where another process computes; then the cache is only read again.

        Returns
        -------
        bool
            Whether there is more to compute.
        """
        return False

    @classmethod
    def agrees(cls, answer: PredictionT, other: PredictionT) -> bool:
        """Return whether another version's answer to the same input means the same.

        Classes and verdicts must be equal; a number must lie within the uncertainty that ``answer`` states.
        """
        return answer == other

    def find_evidence(self, inputs: Sequence[InputT]) -> Sequence[Sequence[Mapping[str, object]]] | None:
        """Return the past cases nearest to each input; None where the family has no such evidence."""
        return None


# A predictor of whichever family: what it takes and returns is known to its parser only.
AnyPredictor: TypeAlias = Predictor[Any, Any]
