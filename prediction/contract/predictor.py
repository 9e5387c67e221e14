"""The serving half of a family."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Self, TypeAlias, TypeVar, cast

from errors import ArtefactCorrupt, MillwrightError, StorageFailed, describe_error
from prediction.contract.keys import Options

T = TypeVar("T")
InputT = TypeVar("InputT")
PredictionT = TypeVar("PredictionT", bound=Mapping[str, object])


@contextmanager
def artefact_errors(version: str) -> Iterator[None]:
    """Turn what reading the files of a version raises into an error that names the version.

    Only for reading: a fault of what is done with the files says nothing about them. Families wrap what they read of
    a champion or an anchor while they train; the loading of a predictor is wrapped by whoever loads it.

    Raises
    ------
    ArtefactCorrupt
        A file is missing or has another content than it should have.
    StorageFailed
        The operating system refused to read it, which says nothing about its content.
    """
    try:
        yield
    except (MillwrightError, MemoryError):
        raise
    except Exception as error:  # the libraries that read arrays and networks raise exceptions of their own
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise StorageFailed(f"{version} cannot be read: {error}") from error
        raise ArtefactCorrupt(f"{version} cannot be read: {describe_error(error)}") from error


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
