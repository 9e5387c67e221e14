"""What all pages need: templates, translations, form tokens, and formats of numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from flask import Flask, current_app, g, request
from flask_babel import Babel, format_decimal, format_timedelta, get_locale
from jinja2 import FileSystemLoader

from api.http.context import identity
from api.security.browser_session import COOKIE, browser_sessions
from dashboard.labels import label_anomaly_type, label_event, label_family, label_reason, label_severity
from storage.db.api_keys import ROLES

LANGUAGES: Final = {"en": "English", "fr": "Français"}
LANGUAGE_COOKIE: Final = "millwright_language"
_HERE: Final = Path(__file__).parent
_SIZE_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def install(app: Flask) -> None:
    """Prepare an application for pages; their routes are registered like those of the API."""
    app.jinja_loader = FileSystemLoader(_HERE / "templates")
    Babel(
        app,
        default_translation_directories=str(_HERE / "translations"),
        locale_selector=select_language,
    )
    app.jinja_env.filters["when"] = format_time
    app.jinja_env.filters["number"] = format_number
    app.jinja_env.filters["size"] = format_size
    app.jinja_env.filters["duration"] = format_duration
    app.jinja_env.filters["anomaly_type"] = label_anomaly_type
    app.jinja_env.filters["severity_name"] = label_severity
    app.jinja_env.filters["event_name"] = label_event
    app.jinja_env.filters["family_name"] = label_family
    app.jinja_env.filters["keep_reason"] = label_reason
    app.context_processor(_page_context)


def select_language() -> str:
    """Return the language that somebody chose, or the first that both the browser and the pages know."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else request.accept_languages.best_match(list(LANGUAGES)) or "en"


def format_time(moment: datetime | None) -> str:
    """Return a time in UTC. Year first: 11/12 is another day in each language."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else "–"


def format_number(value: float | None) -> str:
    """Return a number with at most three decimals, in the reader's notation."""
    return "–" if value is None else str(format_decimal(round(value, 3)))


def format_duration(seconds: float) -> str:
    """Return a duration in the unit that a person would take."""
    return str(format_timedelta(timedelta(seconds=round(seconds)), threshold=1.2))


def format_size(size: float) -> str:
    """Return a number of bytes in the largest unit that leaves at least one."""
    unit = 0
    while size >= 1000 and unit < len(_SIZE_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{format_decimal(round(size, 1))} {_SIZE_UNITS[unit]}"


def next_page(cursor: int | str) -> str:
    """Return the address of the next page of this list, with the filters of this one."""
    return f"{request.path}?{urlencode({**request.args.to_dict(), 'cursor': cursor})}"


def find_address() -> str:
    """Return the address under which this page can be asked for again.

    The answer to a form stands under the address of the form, which takes no GET: the page of the form is one of the
    addresses above it.
    """
    if request.method == "GET":
        return quote(request.path) + (f"?{query}" if (query := request.query_string.decode()) else "")
    path, addresses = request.path, current_app.url_map.bind("")
    while path and not addresses.test(path, "GET"):
        path = path.rpartition("/")[0]
    return quote(path) or "/"


def _page_context() -> dict[str, object]:
    """Return what the layout needs; before a caller is known there is no token and no role."""
    caller = identity() if "identity" in g else None
    return {
        "caller": caller,
        "is_signed_in": COOKIE in request.cookies and caller is not None,
        "language": str(get_locale()),
        "languages": LANGUAGES,
        "token": browser_sessions().create_token(caller) if caller else "",
        "next_page": next_page,
        "address": find_address(),
        "may": lambda role: caller is not None and ROLES.index(caller.role) >= ROLES.index(role),
    }
