"""The page on which a network is trained and watched: files of our own, no network, nothing inline."""

from __future__ import annotations

from pathlib import Path

from flask import Response, send_from_directory

from api.http.resource import Resource
from errors import NotFound

PAGE = Path(__file__).parent / "forecasting_page"
PAGE_FILES = {"train.js": "text/javascript", "train.css": "text/css"}

forecasting_page = Resource("pages", "Pages for people.")


@forecasting_page.serves("/forecasting/train", {200: {"text/html": {"type": "string"}}}, role=None)
def get_training_page() -> Response:
    """Choose a dataset, train a forecasting network and watch it learn."""
    return send_from_directory(PAGE, "index.html")


@forecasting_page.serves("/forecasting/train/<file>", {200: {"*/*": {"type": "string"}}}, role=None)
def get_training_page_file(file: str) -> Response:
    """A part of that page."""
    if file not in PAGE_FILES:
        raise NotFound("There is no such part of the page")
    return send_from_directory(PAGE, file, mimetype=PAGE_FILES[file])
