"""No page keeps people out: axe-core finds nothing serious, and nothing is wider than the screen."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
import requests

from demo.recordings import generate_files
from demo.series import csv_text
from tests.browser.conftest import PATHS

pytestmark = pytest.mark.slow

SERIOUS = ("serious", "critical")
COMPLETE = ((1440, "en", "light"), (360, "fr", "dark"))
COMBINATIONS = [
    (place, *combination)
    for place, combination in enumerate(product((1440, 360), ("en", "fr"), ("light", "dark")))
]
DEVICE = "PUMP <b>7"


@pytest.fixture(scope="module")
def paths(address: str) -> list[str]:
    """Return every page, with something on each that it can show without a training."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    times = [(start + timedelta(hours=hour)).isoformat() for hour in range(40)]

    def send(path: str, **body: Any) -> dict[str, Any]:
        answer = requests.post(f"{address}{path}", timeout=120, **body)
        assert answer.ok, answer.text
        return dict(answer.json()) if isinstance(answer.json(), dict) else {}

    sensor = send(
        "/api/sensors/", json={"name": f"{DEVICE} flow", "type": "Flow", "unit": "m³/h", "max_value": 9}
    )
    rows = [
        {"sensor_id": sensor["id"], "raw_value": 3 + n % 5, "timestamp": time} for n, time in enumerate(times)
    ]
    send("/api/readings/", json=[*rows[:-1], {**rows[-1], "raw_value": 90}])
    send(
        "/api/telemetry",
        json=[{"device_id": DEVICE, "timestamp": time, "current_mean": 4.0} for time in times],
    )
    faulty = csv_text("transformer", 60).replace("2024-01-02 05:00:00", "2024-01-02 04:00:00")
    table = send("/datasets", files={"file": ("oil <i>.csv", faulty)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as plant:
        for name, content in generate_files(specimens=2, recordings=1, seconds=0.2):
            plant.writestr(name, content)
    recordings = send("/datasets", files={"file": ("plant.zip", archive.getvalue())})
    route = send(
        "/api/alarm-routes",
        json={"name": "on <b>call", "kind": "mqtt", "url": "mqtts://broker.example", "topic": "alarms"},
    )
    send("/train/backups")
    backups = requests.get(f"{address}/train/backups", timeout=120).json()["backups"]
    quoted = quote(DEVICE)
    return [
        *PATHS,
        f"/sensors/{sensor['id']}",
        f"/data/{table['id']}?fixes=drop_duplicate_timestamps",
        f"/data/{recordings['id']}",
        f"/device?id={quoted}",
        f"/assets?id={quoted}",
        f"/backups/{backups[0]['name']}",
        "/settings/alarms",
        f"/settings/alarms/{route['id']}",
        "/sensors?status=asleep",
    ]


@pytest.mark.parametrize(("place", "width", "locale", "scheme"), COMBINATIONS)
def test_no_page_keeps_people_out(open_page, paths, address, place, width, locale, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(viewport={"width": width, "height": 900}, locale=locale, color_scheme=scheme)
    findings = []
    # A page takes more than a second, so all pages are checked in two combinations, and a third of them in the others.
    shown = paths if (width, locale, scheme) in COMPLETE else paths[place % 3 :: 3]
    for path in shown:
        page.goto(f"{address}{path}")
        assert page.get_attribute("html", "lang") == locale
        for part in page.query_selector_all("details"):
            part.evaluate("part => { part.open = true; }")
        for chart in page.query_selector_all("[data-figure], [data-values]"):
            chart.wait_for_selector("svg.main-svg, p")
        violations = axe.run(page).response["violations"]
        findings += [
            (path, violation["id"], violation["nodes"][0]["html"][:200])
            for violation in violations
            if violation["impact"] in SERIOUS
        ]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.query_selector("main b, main i") is None, path
    assert findings == []
