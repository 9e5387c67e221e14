"""Datasets over HTTP: uploaded, examined, previewed, repaired on request, removed."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.conftest import open_app, settings_in

CSV = "time,load,oil\n" + "".join(f"2024-01-01 {h:02d}:00:00,{h},{h * h}\n" for h in range(10))


def upload(client: FlaskClient, content: bytes | str = CSV, name: str = "plant.csv", **more: Any) -> Any:
    data = content.encode() if isinstance(content, str) else content
    return client.post("/datasets", data={"file": (io.BytesIO(data), name)}, **more)


def test_an_upload_is_answered_with_what_was_found(client: FlaskClient) -> None:
    answer = upload(client)
    assert answer.status_code == 201
    assert answer.json["columns"] == ["load", "oil"]
    assert (answer.json["rows"], answer.json["time_column"], answer.json["frequency_seconds"]) == (
        10,
        "time",
        3600,
    )
    assert client.get(f"/datasets/{answer.json['id']}").json == answer.json
    assert [one["id"] for one in client.get("/datasets").get_json()["results"]] == [answer.get_json()["id"]]


def test_a_gzipped_upload_reads_like_the_plain_one(client: FlaskClient) -> None:
    assert upload(client, gzip.compress(CSV.encode()), "plant.csv.gz").json["rows"] == 10


def test_the_report_names_rows_and_a_fix_makes_a_mended_copy(client: FlaskClient) -> None:
    first = upload(client, CSV.replace("03:00:00,3,9", "03:00:00,broken,9")).json
    (finding,) = first["findings"]
    assert (finding["code"], finding["rows"], finding["values"]) == ("non_numeric_cells", [4], ["broken"])
    repaired = client.post(f"/datasets/{first['id']}/fixes", json={"fixes": [finding["fix"]]})
    assert (repaired.status_code, repaired.get_json()["parent"], repaired.get_json()["findings"]) == (
        201,
        first["id"],
        [],
    )
    assert (
        client.get(f"/datasets/{repaired.get_json()['id']}/preview?first_row=4&limit=1").get_json()["rows"][
            0
        ]["load"]
        == 3
    )
    assert (
        client.get(f"/datasets/{first['id']}/preview?first_row=4&limit=1").get_json()["rows"][0]["load"]
        is None
    )


@pytest.mark.parametrize("fixes", [[], ["polish"], "sort_by_time", None])
def test_a_fix_that_does_not_exist_is_refused(client: FlaskClient, fixes: Any) -> None:
    assert (
        client.post(f"/datasets/{upload(client).json['id']}/fixes", json={"fixes": fixes}).status_code == 422
    )


def test_what_is_no_upload_is_refused(client: FlaskClient) -> None:
    assert client.post("/datasets", data={"other": (io.BytesIO(b"a"), "a.csv")}).status_code == 400
    assert client.post("/datasets", json={"file": CSV}).status_code == 415
    assert upload(client, "no,numbers\nx,y\n").status_code == 422
    assert client.get("/datasets").get_json()["count"] == 0


def test_an_upload_may_be_larger_than_other_bodies(client: FlaskClient) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 1_000
    rows = "".join(f"{n},{n % 7}\n" for n in range(5_000))
    assert upload(client, "a,b\n" + rows).status_code == 201


def test_an_upload_under_a_key_is_done_once_though_each_try_has_its_own_boundary(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "night-export"}
    first, second = (upload(client, headers=key) for _ in range(2))
    assert (first.status_code, first.json) == (second.status_code, second.json)
    assert second.headers["Idempotent-Replay"] == "true"
    assert len(client.get("/datasets").get_json()["results"]) == 1
    other = upload(client, CSV.replace("9,81", "9,82"), headers=key)
    assert other.json["code"] == "idempotency_key_reused"


def test_an_upload_under_a_key_may_be_as_large_as_any(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{d:02d} {h:02d}:00:00,{h},{d}\n" for d in range(1, 29) for h in range(24))
    for app in open_app(settings_in(tmp_path, max_body_mb=1, max_dataset_mb=3)):
        large = "time,load,oil\n" + rows + "\n" * 1_500_000
        answer = upload(app.test_client(), large, headers={"Idempotency-Key": "large"})
        assert answer.status_code == 201, answer.json


def test_a_multipart_body_that_is_too_large_is_told_with_its_limit(tmp_path: Path) -> None:
    for app in open_app(settings_in(tmp_path, max_body_mb=1, max_dataset_mb=3)):
        client = app.test_client()
        recording = {"file": (io.BytesIO(b"0" * 2_000_000), "run.wav")}
        answer = client.post("/predict/damage/pump", data=recording)
        assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large"), answer.get_json()
        assert "1 MB" in answer.get_json()["error"]


def test_the_largest_dataset_is_a_setting(tmp_path: Path) -> None:
    for app in open_app(settings_in(tmp_path, max_dataset_mb=1)):
        client = app.test_client()
        assert upload(client, "a,b\n" + "1,2\n" * 100_000).status_code == 201
        for over in (300_000, 600_000):  # while the file is read; by the announced length alone
            answer = upload(client, "a,b\n" + "1,2\n" * over)
            assert answer.status_code == 413
            assert "MILLWRIGHT_MAX_DATASET_MB" in answer.json["error"]


def test_a_dataset_is_removed(client: FlaskClient) -> None:
    name = upload(client).json["id"]
    assert client.delete(f"/datasets/{name}").status_code == 200
    assert client.get(f"/datasets/{name}").status_code == 404


@pytest.mark.parametrize("name", ["ds-000000000000", "..%2f..", "%2e%2e", "ds-0", "default"])
def test_a_name_that_is_none_is_not_found(client: FlaskClient, name: str) -> None:
    upload(client)
    assert client.get(f"/datasets/{name}").status_code == 404
    assert client.delete(f"/datasets/{name}").status_code in {404, 405}


def test_a_repeated_upload_under_a_key_is_stored_once(client: FlaskClient) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    body = head + b"a,b\n1,2\n3,5\n\r\n--x--\r\n"
    sent = {
        "data": body,
        "content_type": "multipart/form-data; boundary=x",
        "headers": {"Idempotency-Key": "k"},
    }
    one, two = client.post("/datasets", **sent), client.post("/datasets", **sent)
    assert (one.status_code, one.json) == (201, two.json)
    assert client.get("/datasets").get_json()["count"] == 1


def test_training_options_stand_in_the_body_and_are_checked_at_once(client: FlaskClient) -> None:
    dataset = upload(client).json["id"]

    def request_json(**options: Any) -> Any:
        return client.post(
            "/train/forecasting/line", json={"dataset": dataset, "target_columns": ["oil"], **options}
        )

    assert request_json(dataset="ds-000000000000").status_code == 404
    assert "pressure" in request_json(target_columns=["pressure"]).json["error"]
    assert "speed" in request_json(speed=9).json["error"]
    assert client.get("/train/sessions").get_json()["count"] == 0


def zip_of_recordings(**more: str) -> bytes:
    open_app = io.BytesIO()
    with zipfile.ZipFile(open_app, "w") as archive:
        for name, content in {"ok/a.csv": "x\n1\n2\n", "bad/b.csv": "x\n2\n4\n", **more}.items():
            archive.writestr(name, content)
    return open_app.getvalue()


def test_a_zip_of_recordings_is_a_dataset_of_that_kind(client: FlaskClient) -> None:
    file = (io.BytesIO(zip_of_recordings(**{"bad/c.csv": "x\nhot\n"})), "plant.zip")
    answer = client.post("/datasets", data={"file": file, "sampling_rate_hz": "50"})
    assert (answer.status_code, answer.get_json()["kind"], answer.get_json()["recordings"]) == (
        201,
        "recordings",
        2,
    )
    assert answer.get_json()["labels"] == {"ok": 1, "bad": 1}
    assert answer.get_json()["frequency_seconds"] == 0.02
    (wrong,) = [one for one in answer.get_json()["findings"] if one["code"] == "unreadable_recordings"]
    assert wrong["values"] == ["bad/c.csv: row 1 of column 'x' is no number ('hot')"]
    name = answer.get_json()["id"]
    assert client.get(f"/datasets/{name}/preview").get_json()["rows"][0]["recording"] == "bad/b.csv"
    asked = {"dataset": name, "target_columns": ["x"]}
    assert "of kind recordings" in client.post("/train/forecasting/line", json=asked).get_json()["error"]
    assert client.post(f"/datasets/{name}/fixes", json={"fixes": ["sort_by_time"]}).status_code == 422


def test_a_hostile_archive_and_a_rate_that_is_none_are_refused(client: FlaskClient) -> None:
    refused = upload(client, zip_of_recordings(**{"../evil.csv": "x\n1\n"}), "plant.zip")
    assert (refused.status_code, refused.json["code"]) == (422, "invalid")
    file = (io.BytesIO(zip_of_recordings()), "plant.zip")
    assert client.post("/datasets", data={"file": file, "sampling_rate_hz": "fast"}).status_code == 422
    assert client.get("/datasets").get_json()["count"] == 0


def test_a_fix_can_be_tried_before_it_is_made(client):
    made = upload(client, "time,load\n2024-01-01,1\n2024-01-01,2\n2024-01-02,3\n").json
    address = f"/datasets/{made['id']}/fixes?dry_run=1"
    answer = client.post(address, json={"fixes": ["drop_duplicate_timestamps"]})
    assert (answer.status_code, answer.json["rows_removed"], answer.json["findings"]) == (200, 1, [])
    assert client.get("/datasets").json["count"] == 1


@pytest.mark.parametrize("field", ["file", "other"])
def test_a_second_file_is_refused_rather_than_ignored(client: FlaskClient, field: str) -> None:
    first, second = (io.BytesIO(CSV.encode()), "a.csv"), (io.BytesIO(CSV.encode()), "b.csv")
    refused = client.post(
        "/datasets", data={"file": [first, second]} if field == "file" else {"file": first, field: second}
    )
    assert refused.status_code == 400
    assert (
        refused.get_json()["error"]
        == "Send one file in a request, the table or zip; there are 2: 'a.csv', 'b.csv'"
    )
    assert client.get("/datasets").get_json()["count"] == 0
