"""The page of anomaly reports: scoring, training, and faults in their cells."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from html import escape
from html.parser import HTMLParser

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dashboard.pages.reports import COLUMNS, MAX_SCORED
from dashboard.versions import VersionSummary
from demo.anomaly_reports import demo_records
from prediction.scoring.requests.record_validation import SCORE_FIELDS
from tests.dashboard.test_pages import BROWSER, sign_in, token_on
from tests.waiting import eventually

ATTACK = "<script>alert(1)</script>"


@pytest.fixture
def client(keyed: Flask) -> FlaskClient:
    return sign_in(keyed, "train")


def send(client: FlaskClient, what: str, **fields: object):
    form = {"token": token_on(client, "/reports"), **fields}
    return client.post(f"/reports/{what}", data=form, headers=BROWSER)


def table_of(records: list[dict[str, object]]) -> str:
    lines = [[str(record[column]) for column in COLUMNS] for record in records]
    return "\n".join("\t".join(line) for line in [list(COLUMNS), *lines])


def test_reports_are_scored_with_a_table_that_was_pasted_first(client: FlaskClient) -> None:
    assert send(client, "score", reports="Leak at the pump").status_code == 409  # nothing is trained yet
    started = send(client, "train", table=table_of(demo_records(40, seed=3)))
    assert started.status_code == 303
    number = started.headers["Location"].rsplit("/", 1)[1]
    eventually(lambda: client.get(f"/train/sessions/{number}").json["state"] == "completed")
    page = send(client, "score", reports=f"{ATTACK}\n\nLeak at the pump\n")
    assert page.status_code == 200
    assert page.text.count("<h3>availability: ") == 2
    assert page.text.count('<progress max="1"') == 2 * 3 * 5
    assert ATTACK not in page.text
    assert "Similar reports" in page.text


def test_a_score_is_corrected_and_the_rest_of_the_report_is_kept(client: FlaskClient, keyed: Flask) -> None:
    record = {**demo_records(40, seed=3)[5], "system": "Cooling"}
    number = str(record["anomaly_id"])
    page = client.get("/reports", query_string={"correct": number}, headers=BROWSER)
    assert f'name="anomaly_id-0" value="{number}"' in page.text
    hidden = dict(re.findall(r'<input type="hidden" name="([a-z_]+-0)" value="([^"]+)"', page.text))
    assert set(hidden) >= {"detected_at-0"}
    cells = {f"{column}-0": str(record[column]) for column in COLUMNS}
    changed = "1" if cells[f"{SCORE_FIELDS[0]}-0"] == "5" else "5"
    started = send(client, "train", **{**cells, **hidden, f"{SCORE_FIELDS[0]}-0": changed})
    assert started.status_code == 303, started.text
    session = started.headers["Location"].rsplit("/", 1)[1]
    eventually(lambda: client.get(f"/train/sessions/{session}").json["ended_at"])
    assert client.get(f"/train/sessions/{session}").json["corrections"] == 1
    again = client.get("/reports", query_string={"correct": number}, headers=BROWSER).text
    assert f"<option selected>{changed}</option>" in again
    assert dict(re.findall(r'<input type="hidden" name="([a-z_]+-0)" value="([^"]+)"', again)) == hidden
    unknown = client.get("/reports", query_string={"correct": ATTACK}, headers=BROWSER)
    assert unknown.status_code == 404
    assert 'name="correct"' in unknown.text and ATTACK not in unknown.text
    stranger = sign_in(keyed, "stranger")
    assert stranger.get("/reports", query_string={"correct": number}, headers=BROWSER).status_code == 404


class WrittenForm(HTMLParser):
    """What a browser would send of the table of scored reports, if nobody changed anything."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._name = ""
        self._is_chosen = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "option":
            self._is_chosen = "selected" in given
        elif re.fullmatch(r"\w+-0", name):
            self.values[name] = given.get("value") or ""
            self._name, self._is_chosen = name, tag == "textarea"

    def handle_endtag(self, tag: str) -> None:
        self._is_chosen = False

    def handle_data(self, data: str) -> None:
        if self._is_chosen:
            # A browser drops the line break after the tag, and sends the others in two characters.
            self.values[self._name] = data.removeprefix("\n").replace("\n", "\r\n")


def test_a_correction_keeps_the_rater_half_scores_and_line_breaks(client: FlaskClient, keyed: Flask) -> None:
    record = {
        **demo_records(41, seed=3)[40],
        "anomaly_id": "HALF-1",
        "description": "Leak at the pump\nseen twice",
        "rater": "Ann & Bo",
        "detected_at": "2026-03-01 08:00:00",
        SCORE_FIELDS[0]: 2.5,
    }
    key = {"X-API-Key": keyed.secrets["train"]}  # type: ignore[attr-defined]
    assert keyed.test_client().post("/train", json=[record], headers=key).status_code == 200
    page = client.get("/reports", query_string={"correct": "HALF-1"}, headers=BROWSER).text
    written = WrittenForm(page).values
    assert written["rater-0"] == "Ann & Bo" and written[f"{SCORE_FIELDS[0]}-0"] == "2.5"
    unchanged = send(client, "train", **written)
    assert unchanged.status_code == 200, unchanged.text
    assert "None of these records is new: nothing was trained." in unchanged.text
    assert "left out" not in unchanged.text
    assert WrittenForm(unchanged.text).values == written
    corrected = send(client, "train", **{**written, f"{SCORE_FIELDS[1]}-0": "1.5"})
    session = corrected.headers["Location"].rsplit("/", 1)[1]
    eventually(lambda: client.get(f"/train/sessions/{session}").json["ended_at"])
    again = WrittenForm(
        client.get("/reports", query_string={"correct": "HALF-1"}, headers=BROWSER).text
    ).values
    assert again == {**written, f"{SCORE_FIELDS[1]}-0": "1.5"}
    # The first scores come back: the page says that the stored ones stay, and what to do.
    back = send(client, "train", **written)
    assert back.status_code == 200
    assert "known already" not in back.text
    assert (
        "stored before and then corrected or undone (HALF-1). Change a field to store it again" in back.text
    )
    assert WrittenForm(back.text).values == written


def test_the_quality_of_versions_and_their_largest_errors_are_shown(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = client.get("/reports", headers=BROWSER).text
    assert "Quality over time" in page and "✓ serves" in page
    errors = {"labels": [ATTACK], "records": ["A 7"], "series": [{"values": [5.0]}, {"values": [1.0]}]}
    version = VersionSummary(1, metrics={"headline": 0.5}, figures=[errors])
    monkeypatch.setattr(sys.modules["dashboard.pages.reports"], "summarize_version", lambda *given: version)
    page = client.get("/reports", headers=BROWSER).text
    assert 'href="/reports?correct=A+7#train"' in page or 'href="/reports?correct=A%207#train"' in page
    assert ATTACK not in page


def test_too_many_and_no_reports_are_refused_and_the_text_stays(client: FlaskClient) -> None:
    text = "\n".join(["a leak"] * (MAX_SCORED + 1))
    page = send(client, "score", reports=text)
    assert page.status_code == 422
    assert f"these are {MAX_SCORED + 1}" in page.text
    assert page.text.count("a leak") == MAX_SCORED + 1
    assert send(client, "score", reports=" \n").status_code == 422


def test_every_fault_stands_in_its_cell_and_what_was_written_stays(client: FlaskClient) -> None:
    cells = {
        "anomaly_id-0": "A-1",
        "description-0": "Noise & heat",
        "description-1": "",
        "description-2": ATTACK,
    }
    page = send(client, "train", **cells, **{f"{SCORE_FIELDS[0]}-0": "4"})
    assert page.status_code == 422
    marked = re.findall(r'name="([a-z_]+-\d)"[^>]*aria-invalid', page.text)
    assert f"{SCORE_FIELDS[0]}-0" not in marked
    assert {"equipment_id-0", f"{SCORE_FIELDS[1]}-0", "anomaly_id-1"} <= set(marked)
    assert "<option selected>4</option>" in page.text
    assert 'value="Noise &amp; heat"' in page.text
    assert ATTACK not in page.text


def test_an_empty_form_trains_nothing(client: FlaskClient) -> None:
    page = send(client, "train", **{"description-0": " "})
    assert page.status_code == 422
    assert "Fill in at least one row" in page.text


def test_a_table_that_does_not_fit_the_page_stays_a_text(client: FlaskClient) -> None:
    records = demo_records(60, seed=4)
    records[41]["equipment_id"] = ""
    page = send(client, "train", table=table_of(records))
    assert page.status_code == 422
    assert "Record 42" in page.text
    assert "</textarea>" in page.text.split(str(records[59]["anomaly_id"]), 1)[1]


def workbook(rows: list[list[object]]) -> bytes:
    """Return an Excel file whose one sheet has these cells."""
    cells = "".join(
        "<row>"
        + "".join(
            f"<c><v>{cell}</v></c>"
            if isinstance(cell, int | float)
            else f'<c t="inlineStr"><is><t>{escape(str(cell))}</t></is></c>'
            for cell in row
        )
        + "</row>"
        for row in rows
    )
    office = "http://schemas.openxmlformats.org"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{office}/spreadsheetml/2006/main" '
        f'xmlns:r="{office}/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="rId1"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship '
        f'Id="rId1" Type="{office}/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{office}/spreadsheetml/2006/main"><sheetData>{cells}'
        "</sheetData></worksheet>",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return file.getvalue()


def test_reports_come_from_a_csv_or_an_excel_file(client: FlaskClient) -> None:
    sheet = workbook([["description", "equipment_id"], ["Leak at the pump", "P-1"], ["Noise, and heat", 7]])
    for name, content in (("r.csv", b"description\nLeak at the pump\nNoise\n"), ("r.xlsx", sheet)):
        page = send(client, "score", file=(io.BytesIO(content), name))
        assert page.status_code == 200, page.text
        assert page.text.count("<h3>availability: ") == 2, name
    assert "Noise, and heat" in page.text
    both = send(client, "score", file=(io.BytesIO(sheet), "r.xlsx"), reports="Leak")
    assert both.status_code == 422 and "not both" in both.text and "Leak</textarea>" in both.text
    broken = send(client, "score", file=(io.BytesIO(b"PK\x03\x04 no workbook"), "r.xlsx"))
    assert broken.status_code == 400 and "cannot be read as a workbook" in broken.text


def test_scored_reports_come_from_an_excel_file_and_a_fault_stands_in_its_cell(client: FlaskClient) -> None:
    records = demo_records(43, seed=3)[41:43]
    rows = [[record[column] for column in COLUMNS] for record in records]
    rows[1][COLUMNS.index(SCORE_FIELDS[0])] = 9
    wrong = send(client, "train", file=(io.BytesIO(workbook([list(COLUMNS), *rows])), "r.xlsx"))
    assert wrong.status_code == 422
    assert re.findall(r'name="([a-z_]+-\d)"[^>]*aria-invalid', wrong.text) == [f"{SCORE_FIELDS[0]}-1"]
    rows[1][COLUMNS.index(SCORE_FIELDS[0])] = 3.5
    sent = workbook([list(COLUMNS), *rows])
    twice = send(client, "train", file=(io.BytesIO(sent), "r.xlsx"), **{"description-0": "Leak"})
    assert twice.status_code == 422 and "only one of these is read" in twice.text
    assert 'value="Leak"' in twice.text
    started = send(client, "train", file=(io.BytesIO(sent), "r.xlsx"))
    assert started.status_code == 303, started.text
    session = started.headers["Location"].rsplit("/", 1)[1]
    eventually(lambda: client.get(f"/train/sessions/{session}").json["ended_at"])
    assert client.get(f"/train/sessions/{session}").json["records_added"] == 2


def test_a_read_key_scores_and_does_not_train(keyed: Flask) -> None:
    reader = sign_in(keyed, "read")
    assert send(reader, "train", table="x").status_code == 403
    assert send(reader, "score", reports="Leak").status_code == 200


def test_a_report_that_mentions_a_description_is_no_table(client: FlaskClient) -> None:
    page = send(client, "score", reports="Description: leak, near the valve")
    assert page.status_code == 200
    assert page.text.count("<h3>availability: ") == 1


@pytest.mark.parametrize("text", ["description\nleak", "description;equipment_id\nleak;P-1\n;"])
def test_a_table_of_one_report_is_read_and_what_is_left_out_is_told(client: FlaskClient, text: str) -> None:
    page = send(client, "score", reports=text)
    assert page.text.count("<h3>availability: ") == 1
    assert ("blank row is left out" in page.text) == (";" in text)


def test_columns_that_the_form_has_not_are_kept_beside_a_fault(client: FlaskClient) -> None:
    table = "\n".join(
        ["\t".join([*COLUMNS, "place"]), "\t".join(["A-9", "leak", "Pump", "", "1", "1", "1", "Turbine 7"])]
    )
    page = send(client, "train", table=table)
    assert page.status_code == 422
    assert "Turbine 7</textarea>" in page.text
