"""The page of one asset: every source on one timeline, and where two of them disagree."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from dashboard.asset import Asset, AssetReport, SpecimenCount
from dashboard.device_health import DeviceHealth
from dashboard.figures import build_life_figure
from tests.dashboard.test_pages import BROWSER, sign_in, token_on

NOW = datetime.now(UTC)
MINUTE = 60_000_000
ATTACK = "P-7 <script>alert(1)</script>"
NAMES = {"now": "now", "past": "past", "truth": "truth"}


def asset(**facts: object) -> Asset:
    """Return an asset that only these sources know."""
    nothing: dict[str, object] = dict.fromkeys(("reports", "sensors", "episodes", "run_ends"), ())
    return Asset(**{"name": "P-7", "health": None, "recordings": (), "sessions": (), **nothing, **facts})  # type: ignore[arg-type]


def health(status: str) -> DeviceHealth:
    return DeviceHealth("P-7", {"rul_hours": 5.0, "health_status": status}, NOW)


def report(days: float, score: float | None) -> AssetReport:
    at = NOW - timedelta(days=days)
    return AssetReport(at, at.isoformat(), "leak", {"availability": score, "fiability": None}, 3)


SENSOR = {"id": 4, "name": "P-7 pressure"}
SEVERE = frozenset({4})
EPISODE = {"sensor_id": 4, "type": "Drift", "severity": "High", "resolved": False, "timestamp": NOW}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"health": health("normal"), "sensors": [SENSOR], "severe_sensors": SEVERE},
            "either the sensor drifts",
        ),
        ({"health": health("normal"), "reports": [report(3, 5)]}, "not in its telemetry"),
        (
            {"health": health("critical"), "sensors": [SENSOR], "reports": [report(3, 2)]},
            "none of its sensors",
        ),
        ({"health": health("critical"), "reports": [report(90, 5)]}, "nobody has reported anything"),
        ({"sensors": [SENSOR], "reports": [report(3, 4)]}, "no sensor shows anything severe"),
    ],
)
def test_sources_that_do_not_fit_together_are_told_in_words(
    keyed: Flask, facts: dict[str, object], words: str
) -> None:
    with keyed.test_request_context("/"):
        (sentence,) = asset(**facts).list_disagreements()
    assert words in sentence


def test_sources_that_fit_together_are_no_news(keyed: Flask) -> None:
    resolved = {**EPISODE, "resolved": True}
    with keyed.test_request_context("/"):
        quiet = asset(health=health("normal"), sensors=[SENSOR], episodes=[resolved], reports=[report(60, 5)])
        # What cannot be read, or has no readable time, may be a report of yesterday.
        for unknown in (
            {"are_reports_readable": False},
            {"reports": [AssetReport(None, "spring", "noise", {}, 3)]},
        ):
            assert asset(health=health("critical"), **unknown).list_disagreements() == []
        assert quiet.list_disagreements() == []
        facts = {"health": health("critical"), "sensors": [SENSOR], "severe_sensors": SEVERE}
        both = asset(reports=[report(1, 5)], **facts)
        assert both.list_disagreements() == []


def test_everything_with_a_time_is_on_the_timeline_the_newest_first(keyed: Flask) -> None:
    recordings = SpecimenCount("ds-1", "plant.zip", Counter({"healthy": 2}), NOW - timedelta(days=2))
    with keyed.test_request_context("/"):
        events = asset(
            reports=[report(1, 5), AssetReport(None, "spring", "noise", {}, None)],
            sensors=[SENSOR],
            episodes=[EPISODE],
            run_ends=[(NOW - timedelta(days=3), True)],
            recordings=[recordings],
        ).list_events()
    assert [(event.text.split(":")[0], event.is_severe) for event in events] == [
        ("P-7 pressure", True),
        ("report", True),
        ("recordings", False),
        ("failure", True),
    ]


def test_another_asset_whose_name_begins_alike_is_not_this_one(keyed: Flask) -> None:
    manager = keyed.extensions["millwright"]
    rows = [
        {"name": name, "tag": tag, "type": "Flow"}
        for name, tag in (("MX-1 flow", None), ("MX-10 flow", None), ("north", "MX-1.PV"), ("XMX-1", None))
    ]
    ids = manager.sensors.sensors.create("default", rows)
    page = sign_in(keyed, "read").get("/assets?id=mx-1").text
    assert [number in page for number in (f'href="/sensors/{row}"' for row in ids)] == [
        True,
        False,
        True,
        False,
    ]


def test_a_search_that_ends_early_and_a_list_that_is_cut_are_told_apart(
    keyed: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = keyed.extensions["millwright"]
    names = ("MX-3 flow", "MX-31", "MX-32", "MX-3 speed", "MX-3 heat")
    manager.sensors.sensors.create("default", [{"name": name, "type": "Flow"} for name in names])
    client = sign_in(keyed, "read")
    monkeypatch.setattr("dashboard.asset.MAX_CANDIDATES", 3)
    page = client.get("/assets?id=MX-3").text
    assert "More than 3 sensors have these letters" in page and "Further sensors" not in page
    monkeypatch.undo()
    monkeypatch.setattr("dashboard.asset.MAX_SENSORS", 2)
    page = client.get("/assets?id=MX-3").text
    assert "Further sensors have this name in theirs; 2 are shown." in page and "More than" not in page


def test_trainings_of_its_sensors_are_found_while_they_run_and_by_their_versions(keyed: Flask) -> None:
    manager = keyed.extensions["millwright"]
    store = manager.storage.sessions
    (sensor,) = manager.sensors.sensors.create("default", [{"name": "MX-2 flow", "type": "Flow"}])
    fleet = {"tenant": "default", "family": "sensors", "name": "fleet", "kind": "fleet"}
    mine = store.create(**fleet, details={"models": [f"{sensor}-drift"]})
    other = store.create(**fleet, details={"models": [f"{sensor}0-drift"]})
    single = store.create(**{**fleet, "name": f"{sensor}-anomaly", "kind": "train"})
    locks = [manager.storage.training_lock(f"default/sensors/{name}") for name in ("fleet", single.name)]
    with locks[0], locks[1]:
        page = sign_in(keyed, "read").get("/assets?id=MX-2").text
    found = [f'href="/trainings/{row.id}"' in page for row in (mine, other, single)]
    assert found == [True, False, True]


def test_reports_that_cannot_be_read_are_told_and_not_called_silence(keyed: Flask) -> None:
    file = keyed.extensions["millwright"].settings.data_dir / "disponibilite.csv"
    file.write_bytes(b"a;b\n1;2\n")
    try:
        page = sign_in(keyed, "read").get("/assets?id=P-99").text
    finally:
        file.unlink()
    assert "The reports cannot be read" in page and "disponibilite.csv" in page
    assert "Nothing is known" not in page


def test_the_page_joins_sources_keeps_tenants_apart_and_shows_text_as_text(keyed: Flask) -> None:
    client, key = sign_in(keyed, "train"), {"X-API-Key": keyed.secrets["train"]}  # type: ignore[attr-defined]
    row = {"device_id": ATTACK, "timestamp": NOW.isoformat(), "current_mean": 1.0}
    assert keyed.test_client().post("/api/telemetry", json=[row], headers=key).status_code == 201
    form = {"token": token_on(client, "/sensors"), "name": f"{ATTACK} pressure", "type": "Pressure"}
    assert client.post("/sensors", data=form).status_code == 303
    page = client.get("/assets", query_string={"id": ATTACK}, headers=BROWSER)
    assert "train one on the page of the devices" in page.text
    assert " pressure</a>" in page.text
    assert ATTACK not in page.text
    stranger = sign_in(keyed, "stranger").get("/assets", query_string={"id": ATTACK}, headers=BROWSER)
    assert "Nothing is known of this asset" in stranger.text
    assert "P-7" in client.get("/assets").text
    # A name that ends in a star is a name here, not a pattern.
    assert client.get("/assets", query_string={"id": "P*"}).status_code == 200


def test_predictions_before_a_failure_stand_beside_what_came() -> None:
    prediction = {"as_of": NOW.isoformat(), "rul_hours": 7.0, "interval": {"lower": 5.0, "upper": 9.0}}
    past = [(0, 3.0), (60 * MINUTE, 1.5), (300 * MINUTE, 9.0)]
    # The first run failed after two hours; the second one was ended before it could fail.
    ends = [(120 * MINUTE, True), (360 * MINUTE, False)]
    figure = build_life_figure("life", NAMES, [prediction], past, ends)  # type: ignore[arg-type]
    lines = {trace["name"]: list(trace["y"]) for trace in figure["traces"]}
    assert lines == {
        "band-low": [5.0], "band": [9.0], "now": [7.0], "past": [3.0, 1.5, 9.0], "truth": [2.0, 1.0]
    }  # fmt: skip
