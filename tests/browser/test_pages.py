"""The pages in a real browser: a first visit, by mouse and by keyboard alone."""

from __future__ import annotations

import pytest

from dashboard.pages.reports import COLUMNS
from demo.anomaly_reports import demo_records
from tests.browser.conftest import until

pytestmark = pytest.mark.slow


def test_a_first_visit_teaches_scores_goes_back_and_forward(page, address):
    """Train from a pasted table, watch it, score a report, and restore a backup after seeing what changes."""
    page.goto(address)
    page.click("nav >> text=Reports")
    page.click("text=Paste a table instead")
    records = demo_records(40, seed=3)
    lines = [list(COLUMNS), *([str(record[column]) for column in COLUMNS] for record in records)]
    page.fill("#table", "\n".join("\t".join(line) for line in lines))
    page.click("form[action='/reports/train'] button")
    until(page, lambda: "/trainings/" in page.url)
    until(page, lambda: "✓ completed" in page.inner_text("main"))
    page.click("nav >> text=Reports")
    # The keyboard alone is enough.
    page.focus("#reports")
    page.keyboard.type("Leak at the pump")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=availability: ")
    page.click("nav >> text=Backups")
    page.click("text=Back up now")
    page.wait_for_selector("text=Nothing: data and models are as they were.")
    backup = page.url
    # A record changes after the backup; the restore says so, and takes it back.
    changed = {**records[0], "description": "Changed after the backup"}
    assert page.request.post(f"{address}/train", data=[changed], timeout=120_000).ok
    page.goto(backup)
    page.wait_for_selector("text=Restore this backup")
    assert "Nothing: data and models are as they were." not in page.inner_text("main")
    page.click("text=Restore this backup")
    page.wait_for_selector("text=The state before is kept in")
    page.goto(backup)
    page.wait_for_selector("text=Nothing: data and models are as they were.")


def test_a_sensor_is_registered_and_its_chart_is_drawn(page, address):
    page.goto(f"{address}/sensors")
    # The form is open where the server has no sensors yet; another test may have registered some.
    if not page.is_visible("form.fields input[name=name]"):
        page.click("summary >> text=Register a sensor")
    page.fill("form.fields input[name=name]", "Tank <i>pressure</i>")
    page.fill("form.fields input[name=type]", "Pressure")
    page.fill("form.fields input[name=unit]", "<b>bar</b>")
    page.click("form.fields button")
    page.wait_for_url("**/sensors/*")
    number = page.url.rsplit("/", 1)[1]
    rows = [
        {"sensor_id": int(number), "raw_value": 4 + step % 5, "timestamp": f"2026-03-01T00:{step:02}:00Z"}
        for step in range(50)
    ]
    assert page.request.post(f"{address}/api/readings/", data=rows).status == 201
    page.reload()
    page.wait_for_selector(".chart svg.main-svg")
    assert page.inner_text("h1") == "Tank <i>pressure</i>"
    # plotly.js reads tags in its texts; those of people are no tags.
    assert page.text_content(".chart .ytitle") == "<b>bar</b>"


def test_a_chart_speaks_the_language_of_its_page(open_page, address):
    page = open_page(locale="fr")
    sensor = {"name": "Vanne", "type": "Pressure", "unit": "bar"}
    answer = page.request.post(f"{address}/api/sensors/", data=sensor)
    assert answer.status == 201, answer.text()
    number = answer.json()["id"]
    rows = [
        {"sensor_id": number, "raw_value": 1 + day % 2, "timestamp": f"2026-02-{day:02}T00:00:00Z"}
        for day in range(1, 21)
    ]
    assert page.request.post(f"{address}/api/readings/", data=rows).status == 201
    page.goto(f"{address}/sensors/{number}")
    chart = f".chart[data-figure='/sensors/{number}/figures/readings']"
    page.wait_for_selector(f"{chart} svg.main-svg")
    dates, values = (page.locator(f"{chart} .{axis}tick").all_text_contents() for axis in "xy")
    assert any("févr" in date for date in dates) and not any("Feb" in date for date in dates), dates
    assert any("," in value for value in values) and not any("." in value for value in values), values
