"""A session's events as they happen: with ids, resumable, and with an end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.training import event_stream
from api.training.event_stream import WAIT_SLOTS
from tests.api.conftest import TOY
from tests.toy_family import records


def events(answer: Any) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Return the events of a stream, as id, name and data."""
    for block in answer.get_data(as_text=True).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "event" in fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])


@pytest.fixture
def ended_session(client: FlaskClient) -> str:
    """Return the address of a session's events that has ended."""
    client.post(TOY, json=records(10))
    return "/train/sessions/1/events"


def test_events_tell_every_stage_and_the_end(client: FlaskClient, ended_session: str) -> None:
    answer = client.get(ended_session)
    told = list(events(answer))
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert [number for number, _, _ in told] == sorted({number for number, _, _ in told})
    assert {"prepare", "fit", "evaluate", "save", "verify"} <= {name for _, name, _ in told}
    assert told[-1][2]["state"] == "completed"


def test_a_reader_that_was_cut_off_goes_on_where_it_was(client: FlaskClient, ended_session: str) -> None:
    told = list(events(client.get(ended_session)))
    resumed = list(events(client.get(ended_session, headers={"Last-Event-ID": str(told[2][0])})))
    assert resumed == told[3:]


def test_who_has_seen_the_end_is_not_called_back(client: FlaskClient, ended_session: str) -> None:
    last = list(events(client.get(ended_session)))[-1][0]
    answer = client.get(ended_session, headers={"Last-Event-ID": str(last)})
    assert (answer.status_code, answer.data) == (204, b"")


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "９", "9" * 30])
def test_an_id_that_is_none_is_refused(client: FlaskClient, ended_session: str, last: str) -> None:
    headers = {"Last-Event-ID": last.encode("utf-8").decode("latin-1")}
    assert client.get(ended_session, headers=headers).status_code == 422


def test_a_stream_follows_a_running_session_to_its_end(client: FlaskClient, hold: Path) -> None:
    held = {"records": records(10), "options": {"hold": str(hold)}}
    location = client.post(f"{TOY}?async=1", json=held).get_json()["location"]
    told = b""
    for part in client.get(f"{location}/events", buffered=False).iter_encoded():
        told += part
        if b"event: fit" in told:
            hold.unlink(missing_ok=True)
    assert b"event: verify" in told and b"event: end" in told


def test_a_quiet_stream_gives_signs_of_life(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.0)
    slow = {"records": records(10), "options": {"sleep_s": 3600}}
    location = client.post(f"{TOY}?async=1", json=slow).get_json()["location"]
    answer = client.get(f"{location}/events", buffered=False)
    assert b": still running\n\n" in answer.iter_encoded()
    answer.close()
    client.post(f"{location}/cancel")


def test_streams_leave_threads_for_predictions(client: FlaskClient, app: Flask) -> None:
    slow = {"records": records(10), "options": {"sleep_s": 3600}}
    location = client.post(f"{TOY}?async=1", json=slow).get_json()["location"]
    answers = [app.test_client().get(f"{location}/events", buffered=False) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [503]
    assert "Retry-After" in answers[-1].headers
    answers[0].close()
    again = client.get(f"{location}/events", buffered=False)
    assert again.status_code == 200
    for answer in (*answers, again):
        answer.close()
    client.post(f"{location}/cancel")


def test_streams_end_when_the_server_stops(client: FlaskClient, app: Flask) -> None:
    slow = {"records": records(10), "options": {"sleep_s": 3600}}
    location = client.post(f"{TOY}?async=1", json=slow).get_json()["location"]
    answer = client.get(f"{location}/events", buffered=False)
    parts = iter(answer.iter_encoded())
    assert answer.status_code == 200 and next(parts)
    app.extensions[WAIT_SLOTS].stopping.set()
    assert list(parts) is not None
    assert client.get(location).get_json()["ended_at"] is None, "the stream has ended, the training has not"
    client.post(f"{location}/cancel")
