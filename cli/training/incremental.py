"""One round of incremental training: look what is new, decide, train, say what happened."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from cli.client import JSON, TrainingClient
from cli.console import ExitCode, exit_code
from cli.training.sources import Record, RecordSource
from errors import ConfigurationError, InvalidRecords, MillwrightError
from prediction.scoring.requests.record_validation import SCORE_FIELDS

BATCH = 1_000
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
        """The condition that a text states; ConfigurationError where it states none."""
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"{text!r} is no condition; write one of {', '.join(SCORE_FIELDS)}, "
                "a comparison and a number, such as 'process_safety_score>=5'"
            )
        return cls(match[1], match[2], float(match[3]))

    def holds(self, record: Record) -> bool:
        """Whether the record is urgent."""
        value = record.get(self.score)
        return isinstance(value, int | float) and _COMPARISONS[self.comparison](value, self.limit)


@dataclass(frozen=True)
class IncrementalPolicy:
    """When to train.

    Parameters
    ----------
    least : int
        New records it takes to train.
    urgent : tuple of Condition
        One new record that meets one of them is enough.
    skip_invalid : bool
        Leave records at fault out instead of refusing everything.
    patience_s : float
        How long to wait for another training to end.
    """

    least: int = 10
    urgent: tuple[ScoreCondition, ...] = ()
    skip_invalid: bool = False
    patience_s: float = 300.0


@dataclass
class RunResult:
    """What one round found and did."""

    where: str = ""
    outcome: str = "nothing_to_do"
    records_read: int = 0
    records_new: int = 0
    urgent: bool = False
    left_out: list[str] = field(default_factory=list)
    sessions: list[JSON] = field(default_factory=list)
    error: JSON | None = None
    exit: ExitCode = ExitCode.NOTHING_TO_DO
    seconds: float = 0.0

    def to_dict(self) -> JSON:
        """The round as JSON, with its exit code."""
        facts = {name: value for name, value in vars(self).items() if name != "exit"}
        success = self.error is None
        return {"success": success, **facts, "seconds": round(self.seconds, 3), "exit_code": int(self.exit)}


def run_incremental(
    source: RecordSource,
    open_desk: Callable[[], TrainingClient],
    policy: IncrementalPolicy,
    only_urgent: bool = False,
) -> RunResult:
    """One round, from reading the source to the end of the last session. It raises nothing of ours."""
    started = time.monotonic()
    result = RunResult()
    try:
        with closing(open_desk()) as desk:
            result.where = desk.where
            _run(result, source, desk, policy, only_urgent)
    except MillwrightError as error:
        result.error, result.exit = error.body(), exit_code(error)
        result.outcome = "busy" if result.exit is ExitCode.BUSY else "failed"
    result.seconds = time.monotonic() - started
    return result


def _run(
    result: RunResult,
    source: RecordSource,
    desk: TrainingClient,
    policy: IncrementalPolicy,
    only_urgent: bool,
) -> None:
    records = _newest_of_each(source.records())
    result.records_read = len(records)
    fresh = list(_fresh_batches(records, desk, policy, result))
    result.records_new = sum(count for _, count in fresh)
    result.urgent = _has_urgent(fresh, desk, policy)
    enough = result.records_new >= max(1, policy.least) and not only_urgent
    if not (enough or result.urgent):
        return
    for batch, _ in fresh:
        result.sessions.append(_trained(batch, desk, policy.patience_s))
    promoted = any(session.get("promoted") for session in result.sessions)
    result.outcome = "trained" if promoted else "not_promoted"
    result.exit = ExitCode.DONE if promoted else ExitCode.NOT_PROMOTED


def _newest_of_each(records: list[Record]) -> list[Record]:
    """The last record of each anomaly_id, where a source holds a report and its correction."""
    newest: dict[Any, Record] = {}
    for number, record in enumerate(records):
        identity = record.get("anomaly_id") or ("no id", number)
        newest.pop(identity, None)
        newest[identity] = record
    return list(newest.values())


def _fresh_batches(
    records: list[Record], desk: TrainingClient, policy: IncrementalPolicy, result: RunResult
) -> Iterator[tuple[list[Record], int]]:
    """Batches that hold something new, with how much; faults of all batches are raised together."""
    faults: list[JSON] = []
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        try:
            count = _count_new(batch, desk)
        except MillwrightError as error:
            if error.code != InvalidRecords.code:
                raise
            found = _renumbered(error, start)
            if not policy.skip_invalid:
                faults += found
                continue
            result.left_out += [fault["message"] for fault in found]
            batch = _without_faults(batch, found, start)
            count = _count_new(batch, desk) if batch else 0
        if count:
            yield batch, count
    if faults:
        raise InvalidRecords(faults)


def _count_new(batch: list[Record], desk: TrainingClient) -> int:
    return int(desk.preview(batch)["records_new"])


def _renumbered(error: MillwrightError, start: int) -> list[JSON]:
    """A batch's faults, counted over the whole source."""
    found = []
    sentences = error.facts.get("validation_errors", ())
    for fault, sentence in zip(error.facts.get("errors", ()), sentences, strict=False):
        number = fault["record"] + start if fault.get("record") else None
        said = re.sub(r"^Record \d+", f"Record {number}", sentence)
        found.append({**fault, "record": number, "message": said})
    return found


def _without_faults(batch: list[Record], faults: list[JSON], start: int) -> list[Record]:
    at_fault = {fault["record"] for fault in faults}
    return [record for number, record in enumerate(batch, start + 1) if number not in at_fault]


def _has_urgent(
    fresh: list[tuple[list[Record], int]], desk: TrainingClient, policy: IncrementalPolicy
) -> bool:
    for batch, _ in fresh:
        urgent = [record for record in batch if any(c.holds(record) for c in policy.urgent)]
        if urgent and _count_new(urgent, desk):
            return True
    return False


def _trained(batch: list[Record], desk: TrainingClient, patience_s: float) -> JSON:
    """Train on one batch, waiting for another training to end. What is known already is skipped there."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            return desk.train(batch)
        except MillwrightError as error:
            if error.code != "training_in_progress" or time.monotonic() > give_up:
                raise
        time.sleep(RETRY_SECONDS)
