"""The pages: signing in, form tokens, roles, tenants, languages, hostile text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_file
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from flask import Flask
from flask.testing import FlaskClient

from api.security.browser_session import COOKIE
from dashboard.family_page import MAX_MODELS
from dashboard.labels import label_anomaly_type, label_event, label_family, label_severity
from dashboard.pages.trainings import LINES
from dashboard.training_form import list_option_texts
from errors import ArtefactCorrupt
from prediction import registry
from prediction.contract import ModelKey
from storage.alarms.tables import EVENTS, FAMILY_NAMES, SEVERITY_NAMES
from storage.backups import retention
from storage.db.scheduler_runs import RetrainDecision
from storage.db.tables import utc_now
from storage.sensors.tables import ANOMALY_TYPES

BROWSER = {"Accept": "text/html"}
FRENCH = Path(__file__).parents[2] / "dashboard" / "translations" / "fr" / "LC_MESSAGES"
PAGES = ("/", "/trainings", "/trainings/1")


def sign_in(app: Flask, who: str) -> FlaskClient:
    client = app.test_client()
    answer = client.post("/sign-in", data={"key": app.secrets[who]})  # type: ignore[attr-defined]
    assert answer.status_code == 303
    return client


def token_on(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get(path, headers=BROWSER).text)
    assert found is not None
    return found[1]


def test_an_empty_server_without_keys_says_what_to_do_first(open_home: Flask) -> None:
    page = open_home.test_client().get("/", headers=BROWSER)
    assert page.status_code == 200
    for choice in ("Score reports", "Watch sensors", "Forecast a table"):
        assert choice in page.text
    assert "Sign out" not in page.text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_for_a_key_where_there_are_keys(keyed: Flask, path: str) -> None:
    page = keyed.test_client().get(path, headers=BROWSER)
    assert page.status_code == 401
    assert 'type="password"' in page.text
    assert "toy" not in page.text


def test_a_key_opens_the_pages_and_is_not_in_the_cookie(keyed: Flask) -> None:
    client = keyed.test_client()
    secret = keyed.secrets["read"]  # type: ignore[attr-defined]
    answer = client.post("/sign-in", data={"key": secret, "next": "/trainings"})
    assert answer.headers["Location"] == "/trainings"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert secret not in cookie
    assert [client.get(path, headers=BROWSER).status_code for path in PAGES] == [200, 200, 200]


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/\n/a"]
)
def test_signing_in_never_leads_to_another_server(keyed: Flask, target: str) -> None:
    secret = keyed.secrets["read"]  # type: ignore[attr-defined]
    answer = keyed.test_client().post("/sign-in", data={"key": secret, "next": target})
    assert answer.headers["Location"] == "/"


def test_a_wrong_key_is_told_on_the_page(keyed: Flask) -> None:
    page = keyed.test_client().post("/sign-in", data={"key": "mw_wrong"}, headers=BROWSER)
    assert page.status_code == 401
    assert "unknown or revoked" in page.text


def test_a_revoked_key_and_a_forged_cookie_open_nothing(keyed: Flask) -> None:
    keys = keyed.extensions["millwright"].keys
    secret, key = keys.create("admin")
    client = keyed.test_client()
    client.post("/sign-in", data={"key": secret})
    assert client.get("/trainings").status_code == 200
    keys.revoke(key.id)
    assert client.get("/trainings").status_code == 401
    client.set_cookie(COOKIE, "MQ.aaaaaa.forged")
    assert client.get("/trainings").status_code == 401


def test_signing_out_ends_the_session(keyed: Flask) -> None:
    client = sign_in(keyed, "read")
    assert client.post("/sign-out", data={"token": token_on(client, "/")}).status_code == 303
    assert client.get("/").status_code == 401


def test_a_form_needs_the_token_of_its_caller(keyed: Flask) -> None:
    client, other = sign_in(keyed, "train"), sign_in(keyed, "stranger")
    for token in ("", "x", token_on(other, "/")):
        assert client.post("/trainings/1/undo", data={"token": token}).status_code == 403
    assert client.get("/train/sessions").get_json()["results"][0]["kind"] != "undo"


def test_a_cookie_changes_nothing_through_the_api(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    assert client.get("/train/sessions/1").status_code == 200
    assert client.post("/train/undo/1").status_code == 401


def test_a_read_key_gets_no_buttons_and_no_changes(keyed: Flask) -> None:
    client = sign_in(keyed, "read")
    page = client.get("/trainings/1", headers=BROWSER).text
    assert re.search(r"<button[^>]* disabled>Take these records out again", page)
    assert "Your key may read only" in page
    answer = client.post("/trainings/1/undo", data={"token": token_on(client, "/")}, headers=BROWSER)
    assert answer.status_code == 403
    assert "needs a key with the role train" in answer.text


def test_another_tenant_sees_nothing_of_ours(keyed: Flask) -> None:
    client = sign_in(keyed, "stranger")
    assert "toy" not in client.get("/", headers=BROWSER).text
    assert "toy" not in client.get("/trainings", headers=BROWSER).text
    assert client.get("/trainings/1", headers=BROWSER).status_code == 404
    answer = client.post("/trainings/1/undo", data={"token": token_on(client, "/")})
    assert answer.status_code == 404


def test_what_cannot_be_done_is_said_on_a_page(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    token = token_on(client, "/")
    for verb in ("cancel", "retry", "accept"):
        answer = client.post(f"/trainings/1/{verb}", data={"token": token}, headers=BROWSER)
        assert answer.status_code == 409, verb
        assert "Not possible" in answer.text


def test_hostile_text_stays_text(keyed: Flask) -> None:
    client = sign_in(keyed, "read")
    attack = "<script>alert(1)</script>"
    page = client.get("/trainings?limit=" + attack, headers=BROWSER)
    assert page.status_code == 422
    assert attack not in page.text
    page = client.post("/sign-in", data={"key": attack, "next": attack}, headers=BROWSER)
    assert attack not in page.text


def test_the_language_follows_the_browser_until_one_is_chosen(open_home: Flask) -> None:
    client = open_home.test_client()
    french = {**BROWSER, "Accept-Language": "fr-FR,fr;q=0.9"}
    assert '<html lang="fr">' in client.get("/", headers=french).text
    assert "Vue d’ensemble" in client.get("/", headers=french).text
    assert client.post("/language", data={"language": "en", "next": "/"}).status_code == 303
    assert "Overview" in client.get("/", headers=french).text
    assert client.post("/language", data={"language": "xx"}).status_code == 422


def test_another_language_leads_back_to_the_same_page_with_its_filters(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    page = client.get("/sensors?name=a%26b&status=offline", headers=BROWSER).text
    assert 'name="next" value="/sensors?name=a%26b&amp;status=offline"' in page
    scored = client.post("/reports/score", data={"token": token_on(client, "/")}, headers=BROWSER)
    assert 'name="next" value="/reports"' in scored.text
    # Whoever has to sign in again comes back to the page of the form as well.
    client.post("/sign-out", data={"token": token_on(client, "/")})
    asked = client.post("/trainings/1/undo", headers=BROWSER)
    assert asked.status_code == 401
    assert 'name="next" value="/trainings/1"' in asked.text


@pytest.mark.parametrize(("language", "status"), [("fr", 200), ("en", 422)])
def test_a_decimal_comma_is_one_where_pages_are_french(keyed: Flask, language: str, status: int) -> None:
    client = sign_in(keyed, "train")
    languages = {**BROWSER, "Accept-Language": language}
    assert client.get("/devices?late_cost=1,5&early_cost=2", headers=languages).status_code == status
    form = {"token": token_on(client, "/"), "name": language, "type": "Flow", "max_value": "-1,5"}
    assert client.post("/sensors", data=form, headers=languages).status_code == (
        303 if status == 200 else 422
    )
    options = {"token": token_on(client, "/"), "model": "x", "dropout": "0,2"}
    page = client.post("/devices/train", data=options, headers=languages).text
    assert ('id="option-dropout" name="dropout" value="0,2"' in page and "dropout: Not" in page) == (
        status != 200
    )


def test_a_comma_in_a_text_stays_one_where_pages_are_french(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    french = {**BROWSER, "Accept-Language": "fr"}
    form = {"token": token_on(client, "/"), "name": "1,2", "tag": "3,4", "unit": "5,6", "type": "Flow"}
    path = client.post("/sensors", data={**form, "min_value": "7,8"}, headers=french).headers["Location"]
    row = client.get(f"/api{path}").json
    assert [row[name] for name in ("name", "tag", "unit", "min_value")] == ["1,2", "3,4", "5,6", 7.8]
    page = client.get("/sensors?name=1,2&type=&status=&limit=", headers=french).text
    assert f'href="{path}"' in page and 'value="1,2"' in page
    assert 'value="1,2"' in client.get("/assets?id=1,2", headers=french).text


@pytest.mark.parametrize("who", ["open", "keyed"])
def test_a_body_that_is_too_large_or_broken_is_refused_on_a_page(
    keyed: Flask, open_home: Flask, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    app = keyed if who == "keyed" else open_home
    client = sign_in(keyed, "train") if who == "keyed" else app.test_client()
    monkeypatch.setitem(app.config, "MAX_CONTENT_LENGTH", 2_000_000)
    for path in ("/sensors", "/sensors/1/readings", "/reports/score", "/sign-in", "/language"):
        large = {"token": token_on(client, "/sensors"), "name": "x" * 2_100_000}
        sent = client.post(path, data=large, headers=BROWSER)
        assert sent.status_code in (413, 422), (path, sent.text)
        assert "<html" in sent.text and "internal" not in sent.text, path
        broken = client.post(
            path, data=b"--x\r\nno part", content_type="multipart/form-data; boundary=x", headers=BROWSER
        )
        assert 400 <= broken.status_code < 500, (path, broken.status_code)
        assert "<html" in broken.text, path
    assert client.post("/sensors", data=large).json["code"] == "too_large"


@pytest.mark.parametrize("damage", [ArtefactCorrupt("damaged"), OSError(5, "Input/output error"), "{"])
def test_a_history_that_cannot_be_read_is_told_and_hides_no_training(
    keyed: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: Exception | str
) -> None:
    path = tmp_path / "training_history.json"

    def read(*given: object) -> Path:
        if isinstance(damage, Exception):
            raise damage
        path.write_text(damage)
        return path

    monkeypatch.setattr(keyed.extensions["millwright"].downloads, "file", read)
    page = sign_in(keyed, "read").get("/trainings/1", headers=BROWSER)
    assert page.status_code == 200
    assert "The history of the training cannot be read" in page.text
    assert ("damaged" if isinstance(damage, ArtefactCorrupt) else "training_history.json") in page.text


def test_a_model_with_a_damaged_pointer_and_one_too_many_are_told(
    keyed: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = keyed.extensions["millwright"].models
    keys = [ModelKey("forecasting", f"oil-{number}") for number in range(MAX_MODELS + 1)]
    monkeypatch.setattr(models, "keys", lambda *given, **options: keys)
    monkeypatch.setattr(models, "champion_numbers", lambda shown: (dict.fromkeys(shown[1:]), [keys[0]]))
    page = sign_in(keyed, "read").get("/forecasting", headers=BROWSER).text
    assert "its live pointer is damaged" in page and "oil-0" in page
    assert f"oil-{MAX_MODELS}<" not in page and "/versions?family=forecasting" in page


def test_the_policy_of_pages_is_the_strict_one(keyed: Flask) -> None:
    page = sign_in(keyed, "train").get("/trainings/1", headers=BROWSER)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert re.findall(r"<script(?![^>]*src=)|\son\w+=|style=", page.text) == []


def test_values_of_the_api_have_a_name_in_each_language(open_home: Flask) -> None:
    with open_home.test_request_context(headers={"Accept-Language": "fr"}):
        for label, values in (
            (label_anomaly_type, ANOMALY_TYPES),
            (label_severity, SEVERITY_NAMES),
            (label_event, EVENTS),
            (label_family, FAMILY_NAMES),
        ):
            french = {value: label(value) for value in values}
            assert len(set(french.values())) == len(values)
            assert [value for value, name in french.items() if name == value] == []
    reasons = [
        retention.KEPT_FOR_MODEL,
        retention.RETAINED,
        retention.LAST,
        *retention.KEPT_FOR_PERIOD.values(),
    ]
    source = read_po((FRENCH / "messages.po").open("rb"))
    assert [text for text in reasons if source.get(text) is None] == []


def test_the_schedule_and_why_it_trained_are_shown(keyed: Flask) -> None:
    manager = keyed.extensions["millwright"]
    client = sign_in(keyed, "read")
    page = client.get("/trainings", headers=BROWSER).text
    assert "All models are checked every 24 hours" in page
    assert "The schedule has trained no model so far." in page
    assert "Started by the schedule" not in client.get("/trainings/1", headers=BROWSER).text
    due = RetrainDecision(
        "default", "toy", "default", "monday", utc_now(), "train", ["The error <b>grew</b>."], session_id=1
    )
    manager.monitor.decisions.add(due)
    manager.monitor.decisions.add(replace(due, tenant="other", reasons=["A stranger's."]))
    manager.monitor.decisions.add(replace(due, run_id="tuesday", session_id=None, action="leave"))
    for path in ("/trainings", "/trainings/1"):
        page = client.get(path, headers=BROWSER).text
        assert page.count("The error &lt;b&gt;grew&lt;/b&gt;.") == 1 and "stranger" not in page
    assert "Started by the schedule" in page


def test_the_report_of_a_training_stands_in_its_page(keyed: Flask) -> None:
    client = sign_in(keyed, "read")
    page = client.get("/trainings/1", headers=BROWSER).text
    assert '<iframe class="report" src="/train/sessions/1/report.html"' in page
    report = client.get("/train/sessions/1/report.html")
    assert report.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in report.headers["Content-Security-Policy"]
    assert client.get("/trainings/1", headers=BROWSER).headers["X-Frame-Options"] == "DENY"


def test_every_text_has_a_french_translation_and_the_compiled_catalogue_is_current() -> None:
    source = read_po((FRENCH / "messages.po").open("rb"))
    compiled = read_mo((FRENCH / "messages.mo").open("rb"))
    for message in source:
        assert message.string, message.id
        if message.id:
            entry_of = compiled.get(message.id)
            assert entry_of is not None and list(entry_of.string) == list(message.string)
    pages = FRENCH.parents[2]
    files = [(file, "jinja2") for file in (pages / "templates").rglob("*.html")]
    files += [(file, "python") for file in pages.rglob("*.py")]
    texts = {
        text[0] if isinstance(text, tuple) else text
        for file, method in files
        for _, text, *_ in extract_from_file(method, file, {"_": None, "gettext": None, "ngettext": (1, 2)})
    }
    for family, entry in registry.FAMILIES.items():
        texts |= set(list_option_texts(family)) if entry.options else set()
    texts |= {name for lines in LINES.values() for name in lines.values()}
    translated = {message.id if isinstance(message.id, str) else message.id[0] for message in source}
    assert texts - translated == set()
