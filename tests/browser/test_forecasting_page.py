"""Forecasting in a real browser: upload, repair, train by keyboard, watch in two browsers, cancel, take away."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.series import csv_text
from tests.browser.conftest import until

pytestmark = pytest.mark.slow


def upload(page, address: str, file: Path) -> None:
    """Upload a table, which leads to its page."""
    page.goto(f"{address}/forecasting")
    page.set_input_files("#file", file)
    page.click("form[action='/data'] button")
    page.wait_for_url("**/data/ds-*")


def lines_drawn(page) -> int:
    """Return how many lines the chart of the losses has."""
    return page.locator(".chart .scatterlayer .trace").count()


def test_a_table_is_repaired_learnt_by_keyboard_compared_and_taken_away(page, address, tmp_path):
    text = csv_text("transformer", 400).replace("2024-01-03 05:00:00", "2024-01-03 04:00:00")
    (tmp_path / "oil & <b>gas.csv").write_text(text)
    upload(page, address, tmp_path / "oil & <b>gas.csv")
    assert page.inner_text("h1") == "oil & <b>gas.csv"
    page.click("text=54")
    assert "earlier row" in page.inner_text("tr.marked")
    page.click("button:text('Preview')")
    assert "1 row removed" in page.inner_text("#findings")
    # From here on without a mouse; the first number is too large.
    page.focus("#model")
    page.keyboard.press("Control+a")
    page.keyboard.type("oil")
    page.select_option("#option-architecture", "RidgeLinear")
    for name, value in {"window_size": "24000", "future_steps": "6", "epochs": "3"}.items():
        page.focus(f"#option-{name}")
        page.keyboard.press("Control+a")
        page.keyboard.type(value)
    for box in page.locator("fieldset:has-text('Repair before') input").all():
        box.focus()
        page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector("#option-window_size[aria-invalid]")
    page.fill("#option-window_size", "24")
    assert page.input_value("#option-epochs") == "3"
    for box in page.locator("fieldset:has-text('Repair before') input").all():
        box.check()
    page.keyboard.press("Enter")
    page.wait_for_url("**/trainings/*")
    until(page, lambda: "completed" in page.inner_text("h2 >> nth=0"))
    until(page, lambda: lines_drawn(page) > 0)
    page.click("text=Look at the model")
    page.wait_for_selector(".chart svg.main-svg")
    assert "RidgeLinear" in page.inner_text("main")
    page.fill("input[name=threshold]", "1000")
    page.press("input[name=threshold]", "Enter")
    page.wait_for_selector("text=neither the forecast nor the interval reaches the threshold")
    run_snippet(page, address, tmp_path, text)


def run_snippet(page, address: str, folder: Path, text: str) -> None:
    """Download the files, and run what the page says: it forecasts what the page does."""
    for name in ("model.onnx", "model_info.json"):
        with page.expect_download() as download:
            page.click(f"a:text-is('{name}')")
        download.value.save_as(folder / name)
    info = json.loads((folder / "model_info.json").read_text())
    rows = list(csv.reader(text.splitlines()))
    with (folder / "last.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *rows[-info["window_size"] :]])
    done = subprocess.run(
        [sys.executable, "-c", page.inner_text("pre code")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    page.click("summary:text('Numbers')")
    page_says = float(page.inner_text("#forecast details tbody tr:first-child td:nth-child(2)"))
    assert json.loads(done.stdout)[0][0] == pytest.approx(page_says, abs=0.01)


def test_a_training_is_watched_in_two_browsers_survives_a_reload_and_is_cancelled(
    page, open_page, address, tmp_path
):
    (tmp_path / "plant.csv").write_text(csv_text("transformer", 1_500))
    upload(page, address, tmp_path / "plant.csv")
    page.fill("#model", "slow")
    page.select_option("#option-architecture", "BiLSTM")
    page.fill("#option-epochs", "500")
    page.click("text=All hyper-parameters")
    page.fill("#option-early_stopping_patience", "0")
    page.fill("#option-hidden_size", "16")
    page.click("form[action$='/train#train'] button")
    page.wait_for_url("**/trainings/*")
    until(page, lambda: "left at most" in page.inner_text("main"))
    until(page, lambda: lines_drawn(page) == 2)
    page.reload()
    until(page, lambda: lines_drawn(page) == 2)
    second = open_page(locale="fr")
    second.goto(page.url)
    until(second, lambda: lines_drawn(second) == 2)
    second.click("text=Annuler")
    until(second, lambda: "annulé" in second.inner_text("h2 >> nth=0"))
    until(page, lambda: "cancelled" in page.inner_text("h2 >> nth=0"))
