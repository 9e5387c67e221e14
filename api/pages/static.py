"""Static files of a page, served by exact name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flask import Response, send_from_directory

from errors import NotFound


def send_page_file(files: Mapping[str, Path], file: str) -> Response:
    """Return one file of a page.

    Parameters
    ----------
    files : mapping of str to Path
        The folder of each file by name. A name that is not listed is not found, so no path is ever built from
        what a client sends.
    """
    if file not in files:
        raise NotFound("There is no such part of the page")
    content_type = "text/javascript" if file.endswith(".js") else None
    return send_from_directory(files[file], file, mimetype=content_type)
