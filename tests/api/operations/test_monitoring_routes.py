"""What is measured where models serve can be read, by their tenant alone, and is as described."""

from __future__ import annotations

import pytest

from storage.db.scheduler_runs import RetrainDecision
from storage.db.tables import utc_now
from tests.api.conformance import problems_of
from tests.api.conftest import open_app, settings_in
from tests.prediction.rul.conftest import SMALL, fill_fleet


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    for app in open_app(settings_in(tmp_path_factory.mktemp("monitored"))):
        fill_fleet(app.extensions["millwright"].storage.database)
        told = app.test_client().post("/train/rul/default?async=0", json=SMALL)
        assert told.get_json()["promoted"], told.get_json()
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def test_a_look_is_told_with_its_reasons_and_the_rules(app, client):
    app.extensions["millwright"].monitor.check("one")
    told = client.get("/api/monitoring").json
    (one,) = told["models"]["results"]
    assert (one["model"], one["action"], one["run_id"]) == ("rul/default", "leave", "one")
    assert one["reasons"] == ["Nothing speaks for a training; nothing has been measured since the last one."]
    assert one["evidence"]["judged"]["mae"] > 0
    assert told["schedule"]["interval_hours"] == 24
    assert not told["schedule"]["leader"], "this application has no threads"
    assert (told["policy"]["min_error_ratio"], told["policy"]["remaining_trainings"]) == (0.8, 20)


def test_one_model_is_measured_afresh(client):
    told = client.get("/api/monitoring/rul/default").json
    assert told["model_version"] == 1
    assert told["evidence"]["production"]["metrics"]["failures"] == 0
    assert told["evidence"]["judged"]["late_prediction_rate"] is not None
    assert client.get("/api/monitoring/rul/other").status_code == 409
    assert client.get("/api/monitoring/scoring/default").status_code in (404, 409)
    assert client.get("/api/monitoring/nonsense/default").status_code == 404


def test_decisions_have_pages(app, client):
    decisions = app.extensions["millwright"].monitor.decisions
    for number in range(5):
        decisions.add(RetrainDecision("default", "rul", "paged", str(number), utc_now(), "leave", ["Well."]))
    page = client.get("/api/monitoring?limit=3").json
    assert [one["run_id"] for one in page["decisions"]["results"]] == ["4", "3", "2"]
    rest = client.get(f"/api/monitoring?limit=2&cursor={page['decisions']['next_cursor']}").json
    assert [one["run_id"] for one in rest["decisions"]["results"]] == ["1", "0"]


def test_models_have_pages_of_their_own(app, client):
    decisions = app.extensions["millwright"].monitor.decisions
    for number in range(5):
        decisions.add(
            RetrainDecision("default", "sensors", f"S-{number}/a", "one", utc_now(), "leave", ["Well."])
        )
    seen, cursor = [], None
    while True:
        query = {"limit": 2, **({"models_cursor": cursor} if cursor else {})}
        told = client.get("/api/monitoring", query_string=query).json
        seen += [one["model"] for one in told["models"]["results"]]
        cursor = told["models"]["next_cursor"]
        if cursor is None:
            break
        assert len(told["models"]["results"]) == 2
    assert seen == [
        one["model"] for one in client.get("/api/monitoring?limit=1000").json["models"]["results"]
    ]
    assert seen[-5:] == [f"sensors/S-{number}/a" for number in range(5)]


def test_every_answer_is_as_described(app):
    problems = problems_of(app, "/api/monitoring", 20)
    assert not problems, "\n\n".join(problems)


def test_another_tenant_sees_nothing(app, client):
    keys = app.extensions["millwright"].keys
    stranger = {"Authorization": f"Bearer {keys.create('admin', tenant='another')[0]}"}
    told = client.get("/api/monitoring", headers=stranger).json
    assert (told["models"]["results"], told["decisions"]["results"]) == ([], [])
    assert client.get("/api/monitoring/rul/default", headers=stranger).status_code == 409
