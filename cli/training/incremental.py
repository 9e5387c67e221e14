"""One run of incremental training: find what is new, decide, train, and report the result."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from cli.client import TrainingClient, TrainingEnd
from cli.console import ExitCode, exit_code
from cli.imports.record_files import Record
from cli.training.sources import RecordSource
from errors import ConfigurationError, InvalidRecords, MillwrightError
from prediction.records.fields import RecordFault
from prediction.scoring.requests.record_validation import SCORE_FIELDS

# The API accepts 6,000 records; smaller batches keep a training short enough for others to wait for.
BATCH_SIZE = 1_000
RETRY_SECONDS = 2.0
_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(rf"\s*({'|'.join(SCORE_FIELDS)})\s*(>=|<=|==|=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*")


@dataclass(frozen=True)
class ScoreCondition:
    """A score that makes a record urgent, such as ``process_safety_score>=5``."""

    score: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> ScoreCondition:
        """Return the condition of a text.

        Raises
        ------
        ConfigurationError
            The text is not a condition.
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"{text!r} is not a condition; write one of {', '.join(SCORE_FIELDS)}, "
                "a comparison and a number, such as 'process_safety_score>=5'"
            )
        return cls(match[1], match[2], float(match[3]))

    def is_met(self, record: Record) -> bool:
        """Return whether the record meets the condition."""
        value = record.get(self.score)
        return isinstance(value, int | float) and _COMPARISONS[self.comparison](value, self.limit)


@dataclass(frozen=True)
class IncrementalPolicy:
    """When to train.

    Parameters
    ----------
    min_records : int
        New records that it takes to train.
    conditions : tuple of ScoreCondition
        One new record that meets one of them is enough.
    skip_invalid : bool
        Leave out invalid records instead of refusing all.
    lock_timeout_seconds : float
        How long to wait for another training to end.
    """

    min_records: int = 10
    conditions: tuple[ScoreCondition, ...] = ()
    skip_invalid: bool = False
    lock_timeout_seconds: float = 300.0


@dataclass
class RunResult:
    """What one run found and did."""

    location: str = ""
    outcome: str = "nothing_to_do"
    records_read: int = 0
    records_new: int = 0
    urgent: bool = False
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sessions: list[TrainingEnd] = field(default_factory=list)
    error: MillwrightError | None = None
    exit_code: ExitCode = ExitCode.NOTHING_TO_DO
    duration_seconds: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """Return the result as hooks and ``--json`` get it."""
        return {
            "success": self.error is None,
            **vars(self),
            "error": self.error.body() if self.error else None,
            "duration_seconds": round(self.duration_seconds, 3),
            "exit_code": int(self.exit_code),
        }


@dataclass(frozen=True)
class _Batch:
    records: list[Record]
    new: int


def run_incremental(
    source: RecordSource,
    connect: Callable[[], TrainingClient],
    policy: IncrementalPolicy,
    only_urgent: bool = False,
) -> RunResult:
    """Run once, from reading the source to the end of the last session; an error is part of the result."""
    started = time.monotonic()
    result = RunResult()
    try:
        with closing(connect()) as client:
            result.location = client.location
            _run(result, source, client, policy, only_urgent)
    except MillwrightError as error:
        result.error, result.exit_code = error, exit_code(error)
        result.outcome = "busy" if result.exit_code is ExitCode.BUSY else "failed"
    result.duration_seconds = time.monotonic() - started
    return result


def _run(
    result: RunResult,
    source: RecordSource,
    client: TrainingClient,
    policy: IncrementalPolicy,
    only_urgent: bool,
) -> None:
    # A source may have a report and its correction: the last one of each id counts.
    newest: dict[object, Record] = {}
    for number, record in enumerate(source.records()):
        identity = record.get("anomaly_id") or ("no id", number)
        newest.pop(identity, None)
        newest[identity] = record
    records = list(newest.values())
    result.records_read = len(records)
    batches = list(_find_new(records, client, policy, result))
    result.records_new = sum(batch.new for batch in batches)
    result.urgent = _any_urgent(batches, client, policy)
    enough = result.records_new >= max(1, policy.min_records) and not only_urgent
    if not (enough or result.urgent):
        return
    result.sessions += [_train(batch.records, client, policy.lock_timeout_seconds) for batch in batches]
    promoted = any(session.get("promoted") for session in result.sessions)
    result.outcome = "trained" if promoted else "not_promoted"
    result.exit_code = ExitCode.DONE if promoted else ExitCode.NOT_PROMOTED


def _find_new(
    records: list[Record], client: TrainingClient, policy: IncrementalPolicy, result: RunResult
) -> Iterator[_Batch]:
    """Yield the batches with new records.

    Raises
    ------
    InvalidRecords
        The invalid records of all batches, so that an operator can repair them in one go.
    """
    all_faults: list[RecordFault] = []
    for start in range(0, len(records), BATCH_SIZE):
        batch = records[start : start + BATCH_SIZE]
        try:
            new = _count_new(batch, client, result.warnings)
        except MillwrightError as error:
            if error.code != InvalidRecords.code:
                raise
            faults = _number_in_source(error, start)
            if not policy.skip_invalid:
                all_faults += faults
                continue
            result.left_out += [fault["message"] for fault in faults]
            invalid = {fault["record"] for fault in faults}
            batch = [record for number, record in enumerate(batch, start + 1) if number not in invalid]
            new = _count_new(batch, client, result.warnings) if batch else 0
        if new:
            yield _Batch(batch, new)
    if all_faults:
        raise InvalidRecords(all_faults)


def _count_new(records: list[Record], client: TrainingClient, warnings: list[str]) -> int:
    preview = client.preview(records)
    # Remarks on single records would fill the screen, and their numbers are those of the batch.
    general = [warning for warning in preview.get("warnings", ()) if not warning.startswith("Record ")]
    if unread := preview.get("ignored_fields"):
        general.append(f"Columns that are not read: {', '.join(unread)[:300]}")
    warnings += [warning for warning in general if warning not in warnings]
    return int(preview["records_new"])


def _number_in_source(error: MillwrightError, start: int) -> list[RecordFault]:
    """Return the faults of a batch with the records' numbers in the whole source."""
    faults: list[RecordFault] = []
    sentences = error.facts.get("validation_errors", ())
    for fault, sentence in zip(error.facts.get("errors", ()), sentences, strict=False):
        number = fault["record"] + start if fault.get("record") else None
        message = re.sub(r"^Record \d+", f"Record {number}", sentence)
        faults.append(cast("RecordFault", {**fault, "record": number, "message": message}))
    return faults


def _any_urgent(batches: list[_Batch], client: TrainingClient, policy: IncrementalPolicy) -> bool:
    """Return whether any urgent record is new: one that was trained on before is in the source for good."""
    for batch in batches:
        urgent = [record for record in batch.records if any(c.is_met(record) for c in policy.conditions)]
        if urgent and _count_new(urgent, client, []):
            return True
    return False


def _train(records: list[Record], client: TrainingClient, timeout_seconds: float) -> TrainingEnd:
    """Train on one batch, after waiting for another training to end."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return client.train(records)
        except MillwrightError as error:
            if error.code not in ("training_in_progress", "too_many_sessions") or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)
