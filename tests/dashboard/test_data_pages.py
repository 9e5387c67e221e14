"""The pages of data sets and forecasts: findings at their rows, fixes, and forms made from option schemas."""

from __future__ import annotations

import io
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dashboard.training_form import TRACKED, build_fields, faults_by_field, read_options
from demo.series import csv_text
from errors import InvalidContent
from prediction import registry
from tests.api.conftest import open_app, settings_in
from tests.dashboard.test_pages import BROWSER, sign_in, token_on

ATTACK = "<script>alert(1)</script>"
TABLE = f"date,{ATTACK},load\n2024-01-01,1,2\n2024-01-02,2,3\n2024-01-02,3,5\n2024-01-04,4,7\n"
REQUIRED = {"dataset": "ds-0", "target_columns": ["OT"]}


def upload(client: FlaskClient, text: str = TABLE, **fields: object) -> str:
    """Upload a table with the form of the page; return the address that it leads to."""
    file = (io.BytesIO(text.encode()), f"{ATTACK}.csv")
    form = {"token": token_on(client, "/forecasting"), "file": file, **fields}
    answer = client.post("/data", data=form, headers=BROWSER)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def test_findings_lead_to_their_rows_and_fixes_are_tried_before_they_are_applied(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    path = upload(client)
    page = client.get(path, headers=BROWSER)
    assert ATTACK not in page.text
    assert f'<a href="{path}?first_row=1#rows">3</a>' in page.text
    assert '<tr class="marked"><td class="figure">3</td>' in page.text
    tried = client.get(f"{path}?fixes=drop_duplicate_timestamps&fixes=fill_missing_timestamps").text
    assert "1 row removed" in tried and "1 row added" in tried
    assert client.get("/datasets").json["count"] == 1
    form = {
        "token": token_on(client, path),
        "fixes": ["drop_duplicate_timestamps", "fill_missing_timestamps"],
    }
    fixed = client.post(f"{path}/fixes", data=form).headers["Location"]
    assert path.removeprefix("/data/") in client.get(fixed).text
    assert client.get(f"/datasets/{fixed.removeprefix('/data/')}").json["rows"] == 4
    for address in (path, fixed):
        assert client.post(f"{address}/delete", data=form).headers["Location"] == "/forecasting"
    assert client.get("/datasets").json["count"] == 0


def test_who_may_not_upload_is_refused_before_the_file_is_read(keyed: Flask) -> None:
    reader, stranger = sign_in(keyed, "read"), sign_in(keyed, "stranger")
    # The reader sends its own token, the stranger that of somebody else.
    for client in (reader, stranger):
        file, token = (io.BytesIO(b"a,b\n1,2\n"), "a.csv"), token_on(reader, "/forecasting")
        assert client.post("/data", data={"file": file, "token": token}).status_code == 403
    path = upload(sign_in(keyed, "train"))
    assert stranger.get(path, headers=BROWSER).status_code == 404
    assert re.search(r"<button[^>]* disabled>Train", reader.get(path, headers=BROWSER).text)


def test_a_table_may_be_larger_than_other_bodies_and_its_time_column_is_chosen(tmp_path_factory) -> None:
    lines = [f"2024-01-01T00:00:00Z,{1_700_000_000 + row * 60},{row}.25" for row in range(30_000)]
    text = "\n".join(["first,time,value", *lines])
    for app in open_app(settings_in(tmp_path_factory.mktemp("small"), max_body_mb=1)):
        client = app.test_client()
        path = upload(client, text, time_column="time")
        assert client.get(f"/datasets/{path.removeprefix('/data/')}").json["time_column"] == "time"
        for column, word in (("speed", "the columns are"), ("value", "does not read as times")):
            file = (io.BytesIO(text.encode()), "a.csv")
            form = {"token": token_on(client, "/forecasting"), "file": file, "time_column": column}
            assert word in client.post("/data", data=form, headers=BROWSER).text


@pytest.mark.parametrize("family", [name for name, entry in registry.FAMILIES.items() if entry.options])
def test_a_form_has_every_option_and_sent_untouched_it_means_the_defaults(keyed: Flask, family: str) -> None:
    schema = registry.load_option_schema(family)
    assert schema is not None
    with keyed.test_request_context("/"):
        fields = build_fields(family)
    assert {field.name for field in fields} == set(schema().fields) - TRACKED
    assert [field.name for field in fields if not field.help] == []
    required = {name: value for name, value in REQUIRED.items() if name in schema().fields}
    sent = [(field.name, field.value) for field in fields if field.name not in required]
    with keyed.test_request_context("/", method="POST", data=dict(sent)):
        options = read_options(family)
    parser = registry.create_parser(family)
    assert parser.parse_options({**options, **required}) == parser.parse_options(required)


def test_what_is_wrong_stands_at_its_field_and_what_was_written_stays(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    path = upload(client)
    form = {
        "token": token_on(client, path),
        "model": "oil",
        "target_columns": "load",
        "epochs": "many",
        "dropout": "7",
        "residual_to_last": ["false"],
        "fixes": ["drop_duplicate_timestamps"],
    }
    count = client.get("/datasets").json["count"]
    page = client.post(f"{path}/train", data=form, headers=BROWSER)
    assert page.status_code == 422
    assert re.findall(r'<input id="option-(\w+)"[^>]* aria-invalid', page.text) == ["epochs", "dropout"]
    assert 'value="many"' in page.text and 'value="oil"' in page.text
    assert re.search(r'name="target_columns" value="load" checked', page.text)
    assert not re.search(r'id="option-residual_to_last"[^>]* checked', page.text)
    # Nothing was repaired for a training that cannot start.
    assert client.get("/datasets").json["count"] == count
    nameless = client.post(f"{path}/train", data={**form, "epochs": "1", "dropout": "0", "model": ATTACK})
    assert nameless.status_code == 422
    assert ATTACK not in nameless.text
    assert client.get("/datasets").json["count"] == count


def test_sentences_without_a_field_are_no_faults_of_one() -> None:
    error = InvalidContent("no", validation_errors=["epochs: Not a number.", "too much"])
    assert faults_by_field(error) == {"epochs": "Not a number."}


def test_the_old_address_leads_to_the_page_and_an_unknown_model_is_not_found(open_home: Flask) -> None:
    client = open_home.test_client()
    assert client.get("/forecasting/train").headers["Location"] == "/forecasting"
    assert client.get("/forecasting/models/oil", headers=BROWSER).status_code == 404
    path = upload(client, csv_text("transformer", 60))
    assert "Nothing is wrong with this table." in client.get(path).text
    assert client.get("/trainings/1/figures/losses").status_code == 404
