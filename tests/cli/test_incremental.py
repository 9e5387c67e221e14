"""A run trains when enough is new, at once when a record is urgent, and says why not otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cli.client import Preview, TrainingEnd
from cli.console import ExitCode
from cli.imports.record_files import Record
from cli.training.incremental import IncrementalPolicy, RunResult, ScoreCondition, run_incremental
from errors import ConfigurationError, InvalidRecords, NotReady, TrainingBusy


class FixedSource:
    """A source with these reports."""

    def __init__(self, *reports: Record) -> None:
        self.reports = reports

    def records(self) -> list[Record]:
        return list(self.reports)


class FakeClient:
    """A client that records what it is sent."""

    location = "a test"

    def __init__(self, promote: bool = True, busy: int = 0) -> None:
        self.known: set[str] = set()
        self.batches: list[Sequence[Mapping[str, Any]]] = []
        self.promote, self.busy = promote, busy

    def preview(self, records: Sequence[Mapping[str, Any]]) -> Preview:
        faults = [
            {"record": number, "message": f"Record {number}: bad"}
            for number, record in enumerate(records, 1)
            if record.get("bad")
        ]
        if faults:
            raise InvalidRecords(faults)
        return {"records_new": sum(record["anomaly_id"] not in self.known for record in records)}

    def train(self, records: Sequence[Mapping[str, Any]]) -> TrainingEnd:
        if self.busy:
            self.busy -= 1
            raise TrainingBusy
        self.batches.append(records)
        self.known |= {record["anomaly_id"] for record in records}
        return {"training_session_id": len(self.batches), "promoted": self.promote, "message": "done"}

    def close(self) -> None: ...


def _reports(count: int, **more: Any) -> list[Record]:
    return [{"anomaly_id": f"A{n}", "process_safety_score": 2, **more} for n in range(count)]


def _run(
    reports: list[Record],
    client: FakeClient,
    policy: IncrementalPolicy | None = None,
    only_urgent: bool = False,
) -> RunResult:
    return run_incremental(FixedSource(*reports), lambda: client, policy or IncrementalPolicy(), only_urgent)


def test_fewer_than_ten_new_reports_wait() -> None:
    result = _run(_reports(9), FakeClient())
    assert (result.exit_code, result.records_new, result.sessions) == (ExitCode.NOTHING_TO_DO, 9, [])


def test_ten_new_reports_train_once_and_never_again() -> None:
    client = FakeClient()
    assert _run(_reports(10), client).exit_code is ExitCode.DONE
    assert _run(_reports(10), client).exit_code is ExitCode.NOTHING_TO_DO
    assert len(client.batches) == 1


def test_a_great_many_are_sent_a_thousand_at_a_time() -> None:
    client = FakeClient()
    assert _run(_reports(2_500), client).records_new == 2_500
    assert [len(batch) for batch in client.batches] == [1_000, 1_000, 500]


def test_one_urgent_report_is_enough_but_only_while_it_is_new() -> None:
    client = FakeClient()
    policy = IncrementalPolicy(conditions=(ScoreCondition.parse("process_safety_score>=5"),))
    urgent = [{"anomaly_id": "U", "process_safety_score": 5.0}]
    assert _run(_reports(2), client, policy, only_urgent=True).exit_code is ExitCode.NOTHING_TO_DO
    assert _run(urgent, client, policy, only_urgent=True).urgent
    assert _run(urgent + _reports(2), client, policy).exit_code is ExitCode.NOTHING_TO_DO


def test_a_look_for_urgent_reports_leaves_the_rest_to_the_schedule() -> None:
    client = FakeClient()
    policy = IncrementalPolicy(conditions=(ScoreCondition.parse("process_safety_score>=5"),))
    assert _run(_reports(50), client, policy, only_urgent=True).exit_code is ExitCode.NOTHING_TO_DO


def test_a_correction_in_the_same_source_wins() -> None:
    client = FakeClient()
    _run([*_reports(10), {"anomaly_id": "A3", "process_safety_score": 4}], client)
    assert [r["process_safety_score"] for r in client.batches[0] if r["anomaly_id"] == "A3"] == [4]


def test_faults_are_counted_over_the_whole_source_and_nothing_is_trained() -> None:
    client = FakeClient()
    reports = _reports(1_200)
    reports[1_100]["bad"] = True
    result = _run(reports, client)
    assert result.exit_code is ExitCode.REFUSED
    assert result.error is not None
    assert result.error.facts["validation_errors"] == ["Record 1101: bad"]
    assert client.batches == []


def test_faults_are_left_out_on_request() -> None:
    client = FakeClient()
    reports = _reports(12)
    reports[4]["bad"] = True
    result = _run(reports, client, IncrementalPolicy(skip_invalid=True))
    assert result.left_out == ["Record 5: bad"]
    assert len(client.batches[0]) == 11


def test_a_rejected_candidate_has_its_own_exit_code() -> None:
    result = _run(_reports(10), FakeClient(promote=False))
    assert (result.exit_code, result.outcome) == (ExitCode.NOT_PROMOTED, "not_promoted")
    assert result.to_dict()["success"] is True


def test_another_training_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.training.incremental.RETRY_SECONDS", 0.0)
    assert _run(_reports(10), FakeClient(busy=3)).exit_code is ExitCode.DONE
    assert (
        _run(_reports(10), FakeClient(busy=10**9), IncrementalPolicy(lock_timeout_seconds=0.0)).exit_code
        is ExitCode.BUSY
    )


def test_no_server_is_a_result_too() -> None:
    def closed() -> FakeClient:
        raise NotReady("No server answers")

    assert run_incremental(FixedSource(), closed, IncrementalPolicy()).exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize("text", ["safety>5", "process_safety_score", "process_safety_score>=x", "x;y"])
def test_no_condition(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a condition"):
        ScoreCondition.parse(text)


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("availability_score>=4", True),
        ("availability_score > 4", False),
        ("availability_score==4", True),
        ("availability_score<4", False),
        ("fiability_score>=1", False),
    ],
)
def test_a_condition(text: str, is_met: bool) -> None:
    assert ScoreCondition.parse(text).is_met({"availability_score": 4.0, "fiability_score": "four"}) is is_met
