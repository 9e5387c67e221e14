"""One browser and one server for all tests of the pages: each start costs seconds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live_server import live_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MS = 240_000
PATHS = (
    "/",
    "/reports",
    "/sensors",
    "/forecasting",
    "/damage",
    "/devices",
    "/assets",
    "/trainings",
    "/versions",
    "/backups",
    "/settings",
)
"""The pages that the navigation leads to."""


@pytest.fixture(scope="session")
def address(tmp_path_factory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("page")
    with live_server(home, sentence_model="none", demo_data=0) as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Return what opens a page in a browser of its own: no cookies, and the options of a context.

    Any error in the console of such a page fails its test, a refused script among them.
    """
    contexts, errors = [], []

    def open_one(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [text for text in errors if not text.startswith("Failed to load resource")] == []


@pytest.fixture
def page(open_page):
    """Return a page in an English browser."""
    return open_page()


def until(page, true: Callable[[], bool]) -> None:
    """Wait on this side: the page's own policy forbids scripts that a test would slip in."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not true():
        assert time.monotonic() < deadline, page.inner_text("body")
        page.wait_for_timeout(100)
