"""The Python client against a real server: the main jobs of somebody who scores, trains and watches sensors."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, time, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from demo.anomaly_reports import demo_records
from millwright_client import (
    ApiError,
    ConflictError,
    Millwright,
    NotFoundError,
    NotReadyError,
    RefusedError,
    ServerUnreachableError,
)
from millwright_client.progress import open_display
from millwright_client.tables import to_records
from settings import PROJECT
from tests.scripted_server import scripted


def test_a_frame_is_learnt_predicted_and_taken_back(client: Millwright) -> None:
    reports = pd.DataFrame(demo_records(12, seed=3))
    session = client.train(reports, seed=7)
    names = [event.name for event in session.events()]
    assert session.wait(timeout_seconds=120).has_ended
    assert names[-1] == "end"
    assert session.verdict.state in ("completed", "rejected")
    assert session.verdict.reasons
    assert session.json["options"]["seed"] == 7
    again = client.train(reports).wait()
    assert (again.id, again.state) == (None, "nothing_new")

    questions = reports.drop(columns=[c for c in reports if c.endswith("_score")]).set_index(
        reports.index + 100
    )
    scored = client.predict(questions, similar_reports=0)
    assert list(scored.index) == list(questions.index)
    assert scored["scores_availability_score"].between(1, 5).all()
    listed = client.predict(questions.to_dict("records"), similar_reports=0)
    assert listed.version == scored.attrs["version"]
    assert [row["mean_score"] for row in listed] == list(scored["mean_score"])
    if listed.prediction_id:
        assert client.explain(listed.prediction_id)["reproduction"]["identical"] in (True, None)

    undone = session.undo().wait()
    assert undone.id != session.id
    assert client.session(session.id).state == session.state


def test_models_versions_and_backups(client: Millwright) -> None:
    (model,) = client.models.list(family="scoring")
    versions = client.models.versions(model["model"]).to_list()
    assert model["champion"] in [row["version"] for row in versions]
    backup = client.backups.create("before the test")
    assert client.backups.list()[0]["name"] == backup["name"]
    assert client.backups.preview_restore(backup["name"])["dry_run"] is True
    assert client.backups.restore(backup["name"])["success"] is True
    promoted = client.models.promote(model["champion"])
    assert promoted["version"] == model["champion"]


def test_sensors_with_more_readings_than_a_page(client: Millwright) -> None:
    sensor = client.sensors.create("Feed pressure", "Pressure", unit="bar")
    times = pd.date_range("2026-01-01", periods=1_500, freq="h", tz="UTC")
    stored = sensor.add_readings(pd.DataFrame({"timestamp": times, "raw_value": range(1_500)}), detect=False)
    assert stored["accepted"] == 1_500
    frame = client.sensors.get("Feed pressure").readings().to_pandas()
    assert list(frame["raw_value"]) == list(map(float, range(1_500)))
    assert list(frame["timestamp"]) == list(times)
    assert len(sensor.readings(since=times[1_490].to_pydatetime()).to_list()) == 10
    assert len(sensor.readings(newest_first=True).head(3)) == 3
    assert [row["raw_value"] for row in sensor.readings(newest_first=True)] == list(
        map(float, reversed(range(1_500)))
    )
    with pytest.raises(NotFoundError, match="tag or name 'Feed'"):
        client.sensors.get("Feed")
    client.sensors.create("Feed pressure", "Pressure")
    tagged = client.sensors.create("Other", "Pressure", tag="Feed pressure")
    assert client.sensors.get("Feed pressure").id == tagged.id
    client.connection.request("DELETE", f"/api/sensors/{tagged.id}")
    with pytest.raises(ConflictError, match="give the number"):
        client.sensors.get("Feed pressure")
    assert list(client.anomalies.list(resolved=False)) == []


def test_readings_by_tag_and_long_telemetry(client: Millwright) -> None:
    sensor = client.sensors.create("Tagged", "Flow", tag="FI-88/1 é")
    sensor.add_readings([{"timestamp": "2026-01-05T10:00:00Z", "raw_value": 4.5}], detect=False)
    for name in (sensor.id, "FI-88/1 é"):
        assert [row["raw_value"] for row in client.readings(name, since="2026-01-05T00:00:00Z")] == [4.5]
    line = {"device_id": "LONG-1", "timestamp": "2026-01-05T10:00:00Z"}
    lines = [{**line, "channel": "oil", "value": 2.0}, {**line, "channel": "temp", "value": 60.0}]
    assert client.devices.add_telemetry(lines, channel_column="channel")["accepted"] == 1
    (row,) = client.devices.telemetry(device_id="LONG-1")
    assert (row["oil"], row["temp"]) == (2, 60)


def test_errors_say_what_to_do(client: Millwright) -> None:
    wrong = [{**demo_records(1, seed=5)[0], "availability_score": 9}]
    with pytest.raises(RefusedError) as caught:
        client.train(wrong)
    assert (caught.value.code, caught.value.status) == ("invalid_records", 422)
    assert caught.value.faults[0]["field"] == "availability_score"
    assert "error.faults" in caught.value.hint
    with pytest.raises(ConflictError, match="no_champion"):
        client.devices.health("P-1")
    with pytest.raises(ValueError, match="family/name"):
        client.predict([], model="scoring")


@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        (requests.ReadTimeout(), NotReadyError, "has not answered within 600 seconds"),
        (requests.ConnectionError(), ServerUnreachableError, "is it running"),
        (requests.TooManyRedirects("30 redirects"), ServerUnreachableError, "failed: 30 redirects"),
        (
            requests.exceptions.SSLError("WRONG_VERSION_NUMBER"),
            ServerUnreachableError,
            "does not answer with TLS",
        ),
        (OSError("no such bundle"), ServerUnreachableError, "failed: no such bundle"),
    ],
)
def test_a_request_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, raised: OSError, error: type[ApiError], message: str
) -> None:
    def send(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("requests.Session.send", send)
    with pytest.raises(error, match=message):
        Millwright("http://127.0.0.1:9").health()


def test_what_cannot_be_sent_is_not_blamed_on_the_server(tmp_path: Path) -> None:
    client = Millwright("http://127.0.0.1:9")
    with pytest.raises(RefusedError, match="JSON has no NaN"):
        client.connection.post("/api/readings/", {"raw_value": float("nan")})
    for url in ("127.0.0.1:9", "localhost:9", "http://"):
        with pytest.raises(ServerUnreachableError, match="not a valid URL"):
            Millwright(url).health()
    for key in ("mw_é", "mw_1\n", "two words"):
        with pytest.raises(ValueError, match="API key") as caught:
            Millwright("http://127.0.0.1:9", key)
        assert key not in str(caught.value)
    (tmp_path / "empty.pem").write_text("")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ValueError, match=f"{name} has no certificates"):
            Millwright("https://127.0.0.1:9", ca_file=tmp_path / name)


def test_events_go_on_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    def event(number: int, name: str) -> str:
        return f'id: {number}\nevent: {name}\ndata: {{"text": "a\u2028b"}}\n\n'

    running = {"training_session_id": 7, "state": "running"}
    script: dict[str, list[tuple[int, object]]] = {
        "/train/sessions/7": [(200, running), (502, "<html>"), (200, running | {"state": "interrupted"})],
        # A server that stops ends its streams in good order; then a proxy answers for it.
        "/train/sessions/7/events": [
            (200, "retry: 2000\n\n" + event(1, "stage")),
            (502, "<html>"),
            (503, {"error": "The server starts", "code": "not_ready"}),
            (200, event(2, "end")),
        ],
    }
    monkeypatch.setattr("millwright_client.connection.RETRY_SECONDS", 0.0)
    with scripted(script) as (url, _):
        session = Millwright(url).session(7)
        events = list(session.events())
    assert [(event.id, event.name) for event in events] == [(1, "stage"), (2, "end")]
    assert events[0].data == {"text": "a\u2028b"}
    assert session.state == "interrupted"


def test_streams_that_end_at_once_are_not_opened_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = 0.1
    monkeypatch.setattr("millwright_client.sessions.POLL_SECONDS", pause)
    script: dict[str, list[tuple[int, object]]] = {
        "/train/sessions/7": [(200, {"training_session_id": 7, "state": "running"})],
        "/train/sessions/7/events": [
            *[(200, "retry: 2000\n\n")] * 3,
            (200, "id: 1\nevent: end\ndata: {}\n\n"),
        ],
    }
    with scripted(script) as (url, _):
        session = Millwright(url).session(7)
        began = monotonic()
        assert [event.name for event in session.events()] == ["end"]
        assert monotonic() - began >= 3 * pause


def test_a_session_that_ended_long_ago_has_no_endless_stream() -> None:
    ended = {"training_session_id": 7, "state": "completed"}
    script: dict[str, list[tuple[int, object]]] = {
        "/train/sessions/7": [(200, ended)],
        "/train/sessions/7/events": [(200, "retry: 2000\n\n")],
    }
    with scripted(script) as (url, _):
        assert list(Millwright(url).session(7).events()) == []


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(ServerUnreachableError, match="is it running") as caught:
        Millwright("http://127.0.0.1:9").train([])
    assert caught.value.hint


def test_a_certificate_of_the_plants_own_authority_is_named(tmp_path: Path) -> None:
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant")])
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(addresses, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = Encoding.PEM
    file = tmp_path / "plant.pem"
    secret = key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(ServerUnreachableError, match=r"certificate of .* is not trusted \(self-signed"):
            Millwright(address).health()
        with pytest.raises(ServerUnreachableError, match="not a Millwright server"):
            Millwright(address, ca_file=file).health()
        server.shutdown()


def test_what_is_missing_in_a_frame_is_null() -> None:
    frame = pd.DataFrame(
        {
            "a": [1, 2],
            "b": [0.5, None],
            "t": [pd.Timestamp("2026-01-01", tz="UTC"), pd.NaT],
            "s": ["x", pd.NA],
        }
    )
    assert to_records(frame) == [
        {"a": 1, "b": 0.5, "t": "2026-01-01T00:00:00+00:00", "s": "x"},
        {"a": 2, "b": None, "t": None, "s": None},
    ]
    moment = np.datetime64("2026-01-01T06:30:00", "ns")
    assert to_records(
        {"t": moment, "n": np.datetime64("NaT"), "all": np.array([moment]), "d": time(6, 30)}
    ) == [{"t": "2026-01-01T06:30:00", "n": None, "all": ["2026-01-01T06:30:00"], "d": "06:30:00"}]
    with pytest.raises(TypeError, match="not str"):
        to_records(["text"])


def test_progress_is_one_line_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    session = {"training_session_id": 4, "model": "scoring/default", "state": "running", "progress_pct": 20.0}
    with open_display(True) as display:
        for stage in ("fit", "fit", "judge"):
            display.show({**session, "stage": stage})
    assert capsys.readouterr().out.splitlines() == [
        "Session 4 of scoring/default: fit 20 %",
        "Session 4 of scoring/default: judge 20 %",
    ]


def test_the_client_imports_neither_the_server_nor_pandas(tmp_path: Path) -> None:
    (tmp_path / "millwright_client").symlink_to(PROJECT / "millwright_client")
    code = (
        "import sys, millwright_client; ours = {'api', 'cli', 'errors', 'settings', 'storage', 'pandas', 'rich'}; "
        "print(sorted(ours & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
