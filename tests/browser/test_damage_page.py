"""Damage in a real browser: upload recordings, train, classify a recording, and see what is no recording."""

from __future__ import annotations

import io
import zipfile

import pytest

from demo.recordings import CLASSES, generate_files
from tests.browser.conftest import until

pytestmark = pytest.mark.slow


def test_recordings_are_uploaded_learnt_and_a_new_one_gets_its_verdict(page, address):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as plant:
        for name, content in generate_files():
            plant.writestr(name, content)
    page.goto(f"{address}/damage")
    zipped = {"name": "pump <b>bearings.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    page.set_input_files("#file", zipped)
    page.click("form[action='/data'] button")
    page.wait_for_url("**/data/ds-*")
    assert page.inner_text("h1") == "pump <b>bearings.zip"
    assert all(label in page.inner_text("main") for label in CLASSES)
    page.fill("#model", "bearings")
    page.fill("#option-epochs", "8")
    page.click("text=All hyper-parameters")
    page.fill("#option-channels", "8, 16")
    page.fill("#option-overlap", "0.5")
    page.click("form[action$='/train#train'] button")
    page.wait_for_url("**/trainings/*")
    until(page, lambda: "✓ completed" in page.inner_text("h2 >> nth=0"))
    page.click("text=Look at the model")
    page.wait_for_selector("table.confusion")
    name, recording = next(iter(generate_files(specimens=1, recordings=1, seed=7)))
    label = name.split("/")[0]
    page.set_input_files(
        "input[name=file]", {"name": "new.wav", "mimeType": "audio/wav", "buffer": recording}
    )
    page.click("button:text('Classify')")
    page.wait_for_selector("text=windows were classified")
    assert page.inner_text("#classify h3 >> nth=0") == f"new.wav: {label}"
    assert page.locator("#classify .chart svg.main-svg").count() >= 2
    chances = [float(cell.inner_text().split()[0]) for cell in page.locator("#classify td.figure").all()]
    assert len(chances) == len(CLASSES) and sum(chances) == pytest.approx(100, abs=0.5)
    # What is no recording gets no verdict, and the page says why.
    page.set_input_files("input[name=file]", {"name": "x.wav", "mimeType": "audio/wav", "buffer": b"RIFF"})
    page.click("button:text('Classify')")
    page.wait_for_selector("#classify [role=alert]")
    assert page.locator("#classify h3").count() == 0
