"""Keep predictions with their inputs, off the request's path, so that each can be explained later."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from errors import MillwrightError
from prediction.contract import Options
from prediction.serving import LoadedModel
from storage.db.kept_predictions import KeptPrediction, KeptPredictions, compress, encode_exactly, hash_files
from training.monitoring.write_behind import WriteBehind

log = structlog.get_logger()

MAX_REQUEST_BYTES: Final = 8_000_000
_MAX_WAITING_BYTES: Final = 64_000_000
_FLUSH_INTERVAL_SECONDS: Final = 0.2
_CLEANUP_INTERVAL_SECONDS: Final = 600.0
# What a number takes in a list of Python, roughly.
_BYTES_PER_VALUE: Final = 8


@dataclass(frozen=True)
class Receipt:
    """The id under which a prediction is kept, or the reason why it is not."""

    id: str | None
    reason: str = ""


@dataclass(frozen=True)
class _Waiting:
    id: str
    model: LoadedModel
    created_at: datetime
    inputs: Sequence[object]
    options: Options
    answers: Sequence[Mapping[str, object]]
    size: int


class PredictionArchive(WriteBehind):
    """A buffer of predictions that a thread of its own encodes and writes, five times a second.

    A request only appends to the buffer. Once the database has refused, new predictions are not kept, and their
    answers say so, until those that wait are written. A killed process loses a fifth of a second.

    Parameters
    ----------
    store : KeptPredictions
    retention_days : float
        0 keeps nothing.
    max_rows : int
        Number of requests that are kept for each tenant.
    """

    def __init__(self, store: KeptPredictions, retention_days: float, max_rows: int) -> None:
        self.store = store
        self._retention = timedelta(days=retention_days)
        self._max_rows = max_rows
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._issue = ""
        self._cleaned_at = float("-inf")
        super().__init__("prediction-archive", _FLUSH_INTERVAL_SECONDS)

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(
        self,
        model: LoadedModel,
        inputs: Sequence[object],
        options: Options,
        answers: Sequence[Mapping[str, object]],
    ) -> Receipt:
        """Hand the answers to one request over to the writer."""
        if not self._retention:
            return Receipt(None)
        if self._issue:
            return Receipt(None, f"This prediction was not kept: {self._issue}")
        size = estimate_bytes(inputs) + estimate_bytes(options)
        if size > MAX_REQUEST_BYTES:
            limit = f"{MAX_REQUEST_BYTES // 1_000_000} MB"
            return Receipt(None, f"This prediction was not kept: its inputs are larger than {limit}")
        now = datetime.now(UTC)
        # The time comes first, so that ids sort by it: milliseconds, then microseconds.
        milliseconds, microseconds = divmod(int(now.timestamp() * 1e6), 1000)
        prediction_id = f"{milliseconds:012x}{microseconds:03x}{secrets.token_hex(9)[:17]}"
        entry = _Waiting(prediction_id, model, now, inputs, options, answers, size)
        with self._guard:
            if self._waiting_bytes + size > _MAX_WAITING_BYTES:
                return Receipt(None, "This prediction was not kept: too many wait to be written")
            self._waiting.append(entry)
            self._waiting_bytes += size
            self._start_writer()
        return Receipt(prediction_id)

    def flush(self) -> None:
        """Write what is waiting."""
        with self._flushing:
            with self._guard:
                batch = list(self._waiting)
            try:
                self.store.add([row for row in map(_encode, batch) if row is not None])
            except Exception as error:
                self._issue = error.message if isinstance(error, MillwrightError) else "the log says why"
                raise
            with self._guard:
                for entry in batch:
                    self._waiting.popleft()
                    self._waiting_bytes -= entry.size
            self._issue = ""
            if time.monotonic() - self._cleaned_at > _CLEANUP_INTERVAL_SECONDS:
                self.store.delete_old(datetime.now(UTC) - self._retention, self._max_rows)
                self._cleaned_at = time.monotonic()


def estimate_bytes(value: object) -> int:
    """Return roughly how large inputs are, without looking at each number."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(estimate_bytes, value.values()))
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], Mapping | list):
            # Rows of a table are alike.
            return len(value) * estimate_bytes(value[0])
        return len(value) * _BYTES_PER_VALUE
    return int(getattr(value, "nbytes", _BYTES_PER_VALUE))


def _encode(entry: _Waiting) -> KeptPrediction | None:
    """Return the row of an entry; None, with a log line, where it has no stored form."""
    try:
        return _to_row(entry)
    except (TypeError, ValueError):  # it must not keep the others from being written
        log.exception("prediction_not_kept", model=str(entry.model.key), id=entry.id)
        return None


def _to_row(entry: _Waiting) -> KeptPrediction:
    key, inputs = entry.model.key, encode_exactly({"inputs": list(entry.inputs), "options": entry.options})
    return KeptPrediction(
        id=entry.id,
        tenant=key.tenant,
        family=key.family,
        name=key.name,
        version=entry.model.number,
        version_sha256=hash_files(entry.model.manifest),
        created_at=entry.created_at,
        count=len(entry.answers),
        inputs_sha256=hashlib.sha256(inputs).hexdigest(),
        inputs=compress(inputs),
        answers=compress(encode_exactly(list(entry.answers))),
    )
