"""What clients send to a family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from errors import InvalidContent
from prediction.contract.keys import Options, Record


@dataclass(frozen=True)
class Upload:
    """An unread file that a client sent as a prediction request."""

    content: bytes
    name: str = ""


@dataclass(frozen=True)
class RecordBatch:
    """Validated records of a request.

    Parameters
    ----------
    records : sequence of mapping
        The records, normalised, in the order sent.
    warnings : sequence of str
        Doubts that do not stop the request.
    ignored_fields : sequence of str
        Fields of the records that Millwright does not read.
    """

    records: Sequence[Record]
    warnings: Sequence[str] = ()
    ignored_fields: Sequence[str] = ()


class RequestParser(ABC):
    """Checks requests. Light enough for a web worker: no scikit-learn, no torch, no stored data."""

    @abstractmethod
    def parse_options(self, raw: Mapping[str, object]) -> Options:
        """Fill in the defaults of training options; InvalidContent names unknown and wrong ones."""

    @abstractmethod
    def parse_inputs(self, raw: object) -> RecordBatch:
        """Check the inputs of a prediction request (JSON, CSV rows, an `Upload`).

        Raises
        ------
        InvalidRecords
            Inputs are wrong; every fault is named.
        """

    def parse_records(self, raw: object) -> RecordBatch:
        """Check the records of a training request; InvalidRecords names every fault."""
        if raw:
            raise InvalidContent("This family trains from stored data and takes no records")
        return RecordBatch(())

    def has_download(self, file_name: str) -> bool:
        """Return whether ``ModelFamily.download`` can write this file; MissingExtra says what to install."""
        return True
