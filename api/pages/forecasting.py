"""The page on which a forecasting network is trained and watched."""

from __future__ import annotations

from pathlib import Path

from flask import Response, send_from_directory

from api.http.resource import Resource
from api.pages.static import send_page_file

PAGE = Path(__file__).parent / "forecasting_page"
FILES = dict.fromkeys(("train.js", "train.css"), PAGE)

forecasting_page = Resource("pages", "Pages for people.")


@forecasting_page.operation("/forecasting/train", {200: {"text/html": {"type": "string"}}}, role=None)
def get_training_page() -> Response:
    """Choose a dataset, train a forecasting network and watch it learn."""
    return send_from_directory(PAGE, "index.html")


@forecasting_page.operation("/forecasting/train/<file>", {200: {"*/*": {"type": "string"}}}, role=None)
def get_training_page_file(file: str) -> Response:
    """Return a file of that page."""
    return send_page_file(FILES, file)
