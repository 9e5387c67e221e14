"""The main job of the pages by keyboard alone: every control is reached with Tab, and nothing is clicked."""

from __future__ import annotations

import pytest

from demo.anomaly_reports import demo_records
from tests.browser.conftest import until

pytestmark = pytest.mark.slow

MAX_STOPS = 120


def press(page, selector: str, key: str = "Enter") -> None:
    """Press Tab until a control has the focus, then a key on it."""
    for _ in range(MAX_STOPS):
        if page.locator(f"{selector}:focus").count():
            page.keyboard.press(key)
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab on {page.url}")


def write(page, selector: str, text: str) -> None:
    press(page, selector, "Control+a")
    page.keyboard.type(text)


def test_a_backup_is_made_kept_and_restored(page, address):
    assert page.request.post(f"{address}/train", data=demo_records(30, seed=5), timeout=120_000).ok
    page.goto(address)
    press(page, "nav a:has-text('Backups')")
    page.wait_for_url("**/backups")
    write(page, "input[name=reason]", "before the audit")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=before the audit")
    press(page, "button:has-text('Keep it for good')")
    page.wait_for_selector("button:has-text('Let the rules decide')")
    page.wait_for_selector("text=Nothing: data and models are as they were.")
    press(page, "button:has-text('Restore this backup')")
    page.wait_for_selector("text=The state before is kept in")


def test_a_sensor_is_registered_judged_and_its_anomaly_closed(page, address):
    page.goto(f"{address}/sensors")
    if not page.is_visible("form.fields input[name=name]"):
        press(page, "summary:has-text('Register a sensor')")
    for name, text in {"name": "Keyboard", "type": "Flow", "unit": "l/s", "max_value": "5"}.items():
        write(page, f"form.fields input[name={name}]", text)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sensors/*")
    number = int(page.url.rsplit("/", 1)[1])
    rows = [{"sensor_id": number, "raw_value": 4 + step % 3 / 10, "timestamp": f"2026-03-01T00:{step:02}:00Z"}
            for step in range(30)]  # fmt: skip
    assert page.request.post(f"{address}/api/readings/", data=rows).status == 201
    anomaly = {"sensor_id": number, "type": "Spike", "value": 13, "timestamp": "2026-03-01T00:20:00Z"}
    assert page.request.post(f"{address}/api/anomalies/", data=anomaly).status == 201
    page.reload()
    press(page, "button[value=false_alarm]")
    until(page, lambda: page.locator("button[value=false_alarm]").count() == 0)
    (closed,) = page.request.get(f"{address}/api/anomalies/?sensor_id={number}").json()["results"]
    assert closed["verdict"] == "false_alarm" and closed["resolved"]


def test_a_wrong_cost_is_named_on_the_page_of_devices(page, address):
    page.goto(f"{address}/devices")
    write(page, "input[name=late_cost]", "-1")
    page.keyboard.press("Enter")
    until(page, lambda: "late_cost" in page.inner_text("main"))
