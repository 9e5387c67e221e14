"""The Python client against a real server: the main jobs of somebody who scores, trains and watches sensors."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from demo.anomaly_reports import demo_records
from millwright_client import Conflict, Millwright, NotFound, Refused, ServerUnreachable
from millwright_client.progress import open_display
from millwright_client.tables import to_records
from settings import PROJECT


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
    (model,) = client.models(family="scoring")
    versions = client.versions(model["model"]).to_list()
    assert model["champion"] in [row["version"] for row in versions]
    backup = client.create_backup("before the test")
    assert client.backups()[0]["name"] == backup["name"]
    assert client.preview_restore(backup["name"])["dry_run"] is True
    assert client.restore(backup["name"])["success"] is True
    promoted = client.promote(model["champion"])
    assert promoted["version"] == model["champion"]


def test_sensors_with_more_readings_than_a_page(client: Millwright) -> None:
    sensor = client.create_sensor("Feed pressure", "Pressure", unit="bar")
    times = pd.date_range("2026-01-01", periods=1_500, freq="h", tz="UTC")
    stored = sensor.add_readings(pd.DataFrame({"timestamp": times, "raw_value": range(1_500)}), detect=False)
    assert stored["accepted"] == 1_500
    frame = client.readings("Feed pressure").to_pandas()
    assert list(frame["raw_value"]) == list(map(float, range(1_500)))
    assert list(frame["timestamp"]) == list(times)
    assert len(sensor.readings(since=times[1_490].to_pydatetime()).to_list()) == 10
    with pytest.raises(NotFound, match="no sensor named 'Feed'"):
        client.sensor("Feed")
    client.create_sensor("Feed pressure", "Pressure")
    with pytest.raises(Conflict, match="give the number"):
        client.sensor("Feed pressure")
    assert list(client.anomalies(resolved=False)) == []


def test_errors_say_what_to_do(client: Millwright) -> None:
    wrong = [{**demo_records(1, seed=5)[0], "availability_score": 9}]
    with pytest.raises(Refused) as caught:
        client.train(wrong)
    assert (caught.value.code, caught.value.status) == ("invalid_records", 422)
    assert caught.value.faults[0]["field"] == "availability_score"
    assert "error.faults" in caught.value.hint
    with pytest.raises(Conflict, match="no_champion"):
        client.device_health("P-1")
    with pytest.raises(ValueError, match="family/name"):
        client.predict([], model="scoring")


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(ServerUnreachable, match="is it running") as caught:
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
        with pytest.raises(ServerUnreachable, match=r"certificate of .* is not trusted"):
            Millwright(address).health()
        with pytest.raises(ServerUnreachable, match="not a Millwright server"):
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
