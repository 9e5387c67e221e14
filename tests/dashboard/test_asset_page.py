"""The page of one asset: every source on one timeline, and where two of them disagree."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from dashboard.asset import Asset, AssetReport, SpecimenCount, list_models
from dashboard.device_health import DeviceHealth
from dashboard.figures import build_life_figure
from storage.db.sessions import Session
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
EPISODE = {"sensor_id": 4, "type": "Drift", "severity": "High", "resolved": False, "timestamp": NOW}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"health": health("normal"), "sensors": [SENSOR], "episodes": [EPISODE]},
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
        assert quiet.list_disagreements() == []
        both = asset(health=health("critical"), sensors=[SENSOR], episodes=[EPISODE], reports=[report(1, 5)])
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


@pytest.mark.parametrize(
    ("details", "names"),
    [
        ({"models": ["4-drift"]}, ["4-drift"]),
        ({"models": 2, "items": [{"name": "4-drift"}, {"name": "5-drift"}]}, ["4-drift", "5-drift"]),
        ({}, ["fleet"]),
    ],
)
def test_a_batch_names_its_models_while_it_runs_and_after_its_end(details: dict, names: list[str]) -> None:
    session = Session(1, "default", "sensors", "fleet", "fleet", "completed", NOW, details=details)
    assert list_models(session) == names


def test_the_page_joins_sources_keeps_tenants_apart_and_shows_text_as_text(keyed: Flask) -> None:
    client, key = sign_in(keyed, "train"), {"X-API-Key": keyed.secrets["train"]}  # type: ignore[attr-defined]
    row = {"device_id": ATTACK, "timestamp": NOW.isoformat(), "current_mean": 1.0}
    assert keyed.test_client().post("/api/telemetry", json=[row], headers=key).status_code == 201
    form = {"token": token_on(client, "/sensors"), "name": f"{ATTACK} pressure", "type": "Pressure"}
    assert client.post("/sensors", data=form).status_code == 303
    page = client.get("/assets", query_string={"id": ATTACK}, headers=BROWSER)
    assert "train it with POST /train/rul/default" in page.text
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
