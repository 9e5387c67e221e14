"""What fails again and again is logged when it begins, changes and ends."""

from __future__ import annotations

from structlog.testing import capture_logs

from errors import NotReady, describe_error
from storage.repeated_warning import RepeatedWarning


def test_a_failure_is_logged_when_it_begins_changes_and_ends() -> None:
    warning = RepeatedWarning("job_postponed", job="drill")
    errors: list[Exception | None] = [NotReady("away"), NotReady("away"), KeyError("x"), KeyError("x")]
    with capture_logs() as logs:
        for error in [None, *errors, None, None]:
            with warning.catch():
                if error is not None:
                    raise error
                warning.end()
    assert [(entry["event"], entry.get("reason"), entry["job"]) for entry in logs] == [
        ("job_postponed", "away", "drill"),
        ("job_postponed", "KeyError: 'x'", "drill"),
        ("job_postponed_ended", None, "drill"),
    ]
    assert logs[0]["exc_info"] is None and isinstance(logs[1]["exc_info"], KeyError), (
        "an unexpected one has a traceback"
    )
    assert warning.reason == ""


def test_an_unexpected_error_is_described_by_its_type() -> None:
    assert describe_error(NotReady("away")) == "away"
    assert describe_error(KeyError("x")) == "KeyError: 'x'"
    assert describe_error(MemoryError()) == "MemoryError"
