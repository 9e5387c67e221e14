"""Take a picture of every page of a server with demo data: ``make screenshots`` writes docs/screenshots."""

from __future__ import annotations

import io
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import requests
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from demo.recordings import generate_files
from demo.series import csv_text
from settings import PROJECT
from tests.browser.conftest import CHROMIUM
from tests.live_server import live_server

FOLDER = PROJECT / "docs" / "screenshots"
MAX_BYTES = 150_000
SENSOR, DEVICE = 13, "PUMP-23"
PAGES = {
    "overview": "/",
    "sensors": "/sensors",
    "sensor": f"/sensors/{SENSOR}",
    "forecasting": "/forecasting",
    "forecast": "/forecasting/models/oil?threshold=50",
    "damage": "/damage",
    "devices": "/devices?late_cost=20&early_cost=1",
    "device": f"/device?id={DEVICE}",
    "asset": f"/assets?id={DEVICE}",
    "trainings": "/trainings",
    "models": "/versions",
    "versions": "/versions/scoring/default",
    "backups": "/backups",
    "settings": "/settings",
    "alarms": "/settings/alarms",
}
PARTS = {
    "calibration": (f"/sensors/{SENSOR}", "#calibrations"),
    "quality": ("/reports", "#quality"),
}
"""Parts of pages, by the selector of each."""
# Names that no server has: one route fails, one rests.
ROUTES = (
    {
        "name": "On-call engineer",
        "kind": "webhook",
        "url": "https://alarms.example.invalid/hooks/7f3a",
        "secret": "a secret of the plant",
        "min_severity": "Medium",
    },
    {
        "name": "Maintenance office",
        "kind": "apprise",
        "url": "mailtos://plant:password@mail.example.invalid?to=office@example.com",
        "enabled": False,
    },
)
REPORT = "Fuite d'huile importante au palier de la pompe alimentaire"


def main() -> None:
    """Fill a server and take the pictures."""
    if CHROMIUM is None:
        sys.exit("There is no Chromium (Debian: apt-get install chromium)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        live_server(Path(home)) as address,
        sync_playwright() as driver,
    ):
        fill(address)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1200, "height": 740}, locale="en").new_page()
        page.set_default_timeout(120_000)
        for name, path in PAGES.items():
            page.goto(f"{address}{path}")
            take(page, name)
        for name, (path, part) in PARTS.items():
            page.goto(f"{address}{path}")
            take(page, name, part)
        show_data_sets(page, address)
        classify(page, address)
        show_training(page, address)
        score(page, address)
        take_on_telephone(browser, address)
        browser.close()


def fill(address: str) -> None:
    """Train a model of each kind, and send a reading that is odd."""
    train(f"{address}/api/model-training/?async=0", {"sensor_id": SENSOR, "algorithm": "composite"})
    train(f"{address}/train/rul/default?async=0", {"model_type": "mlp"})
    oil = upload(address, "oil temperature.csv", csv_text("transformer", 1_500).encode())
    for architecture in ("NLinear", "RidgeLinear"):
        name = "oil" if architecture == "RidgeLinear" else "oil-nlinear"
        train(
            f"{address}/train/forecasting/{name}?async=0",
            {
                "dataset": oil,
                "target_columns": ["OT"],
                "architecture": architecture,
                "window_size": 48,
                "future_steps": 24,
                "epochs": 25,
            },
        )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as plant:
        for name, content in generate_files():
            plant.writestr(name, content)
    recordings = upload(address, "pump bearings.zip", archive.getvalue())
    train(
        f"{address}/train/damage/pump?async=0",
        {"dataset": recordings, "channels": [8, 16], "overlap": 0.5, "epochs": 8},
    )
    faulty = csv_text("transformer", 400).replace("2024-01-03 05:00:00", "2024-01-03 04:00:00")
    upload(address, "faulty.csv", faulty.encode())
    for route in ROUTES:
        requests.post(f"{address}/api/alarm-routes", json=route, timeout=60).raise_for_status()
    requests.post(
        f"{address}/api/readings/", json={"sensor_id": SENSOR, "raw_value": 7.2}, timeout=60
    ).raise_for_status()


def upload(address: str, name: str, content: bytes) -> str:
    """Upload a data set; return its id."""
    answer = requests.post(f"{address}/datasets", files={"file": (name, content)}, timeout=600)
    answer.raise_for_status()
    return str(answer.json()["id"])


def train(url: str, options: dict[str, object]) -> None:
    """Train and wait; the demo data may still be on their way into the database."""
    deadline = time.monotonic() + 600
    while True:
        answer = requests.post(url, json=options, timeout=600)
        if answer.ok or time.monotonic() > deadline:
            answer.raise_for_status()
            return
        time.sleep(2)


def show_data_sets(page: Page, address: str) -> None:
    """Take the pictures of a table with faults, and of the form that trains."""
    page.goto(f"{address}/forecasting")
    page.click("a:text-is('faulty.csv')")
    page.click("button:text('Preview')")
    take(page, "findings", "#findings")
    page.click("text=All hyper-parameters")
    page.evaluate("document.querySelector('#train').scrollIntoView()")
    take(page, "train")


def classify(page: Page, address: str) -> None:
    """Take the picture of a recording that is classified."""
    page.goto(f"{address}/damage/models/pump")
    _, recording = next(iter(generate_files(specimens=1, recordings=1, seed=7)))
    file: FilePayload = {"name": "pump 7.wav", "mimeType": "audio/wav", "buffer": recording}
    page.set_input_files("input[name=file]", file)
    page.click("button:text('Classify')")
    page.wait_for_selector("text=windows were classified")
    take(page, "recording", "#classify")


def show_training(page: Page, address: str) -> None:
    """Take the picture of a training with its losses."""
    page.goto(f"{address}/forecasting/models/oil-nlinear")
    page.click("main dl a[href^='/trainings/']")
    take(page, "training")


def score(page: Page, address: str) -> None:
    """Take the picture of a report that is scored."""
    page.goto(f"{address}/reports")
    page.fill("#reports", REPORT)
    page.click("form[action='/reports/score'] button")
    page.wait_for_selector("text=Similar reports")
    take(page, "reports")


def take_on_telephone(browser: Browser, address: str) -> None:
    """Take the picture of a page on a dark narrow screen, in French."""
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, locale="fr", color_scheme="dark", is_mobile=True
    )
    page = context.new_page()
    page.goto(f"{address}/sensors/{SENSOR}")
    take(page, "telephone")
    context.close()


def take(page: Page, name: str, part: str = "") -> None:
    """Write the picture of a page, or of a part of it, once its charts are drawn."""
    for chart in page.query_selector_all("[data-figure], [data-values]"):
        chart.wait_for_selector("svg.main-svg")
    path = FOLDER / f"{name}.png"
    if part:
        page.locator(part).screenshot(path=path)
    else:
        page.screenshot(path=path)
    if (size := path.stat().st_size) > MAX_BYTES:
        sys.exit(f"{path} has {size:,} bytes, at most {MAX_BYTES:,} are wanted")


if __name__ == "__main__":
    main()
