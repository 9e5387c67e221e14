"""The files that pages use: the style sheet and scripts of this package, and plotly.js from its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from flask import Response

from api.pages.static import send_page_file
from dashboard.resource import Pages

_STATIC = Path(__file__).parents[1] / "static"
_PLOTLY = "plotly.min.js"
# Importing plotly would take memory in every worker; only this file of it is used.
_PLOTLY_SPEC = find_spec("plotly")
assert _PLOTLY_SPEC is not None and _PLOTLY_SPEC.origin is not None
_FILES = {
    **dict.fromkeys(("dashboard.css", "dashboard.js", "charts.js"), _STATIC),
    _PLOTLY: Path(_PLOTLY_SPEC.origin).parent / "package_data",
}
_DAY_SECONDS = 86_400

static_files = Pages("static files", "The files that pages use.")


@static_files.operation("/dashboard/<file>", {200: {"*/*": {"type": "string"}}}, role=None)
def get_dashboard_file(file: str) -> Response:
    """Return a style sheet or a script."""
    response = send_page_file(_FILES, file)
    if file == _PLOTLY:
        # Nearly five megabytes that change with a release of plotly only.
        response.cache_control.no_cache = None
        response.cache_control.public = True
        response.cache_control.max_age = _DAY_SECONDS
    return response
