"""Signing in with an API key, signing out, and the language."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, render_template, request
from flask.typing import ResponseReturnValue

from api.http.context import manager
from api.security.browser_session import COOKIE, browser_sessions
from dashboard.application import LANGUAGE_COOKIE, LANGUAGES
from dashboard.resource import FORM, HTML, REDIRECT, Pages, see_other, show_error
from errors import InvalidContent, Unauthorized

_YEAR_SECONDS = 365 * 86_400

account = Pages("account", "Sign in and out of the pages.")


@account.operation("/sign-in", HTML, role=None)
def get_sign_in() -> str:
    """Ask for an API key."""
    return render_template("sign_in.html", error=None, next_address="/")


@account.operation("/sign-in", REDIRECT, method="POST", role=None, body=FORM, errors=(401,))
def post_sign_in() -> ResponseReturnValue:
    """Sign in with an API key: sets a cookie that lasts for twelve hours."""
    next_address = request.form.get("next", "/")
    caller = manager().keys.authenticate(request.form.get("key", "").strip())
    if caller is None:
        return show_error(Unauthorized("This API key is unknown or revoked"), next_address)
    response = see_other(_local_path(next_address))
    browser_sessions().start(response, caller)
    return response


@account.operation("/sign-out", REDIRECT, method="POST", body=FORM)
def post_sign_out() -> Response:
    """Sign out of this browser."""
    response = see_other("/sign-in")
    response.delete_cookie(COOKIE, samesite="Strict", httponly=True)
    return response


@account.operation("/language", REDIRECT, method="POST", role=None, body=FORM)
def post_language() -> Response:
    """Choose the language of the pages, for this browser."""
    language = request.form.get("language", "")
    if language not in LANGUAGES:
        raise InvalidContent(f"There are pages in {' and '.join(LANGUAGES.values())} only")
    response = see_other(_local_path(request.form.get("next", "/")))
    response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR_SECONDS, httponly=True, samesite="Strict")
    return response


def _local_path(target: str) -> str:
    """Return a path of this server; anything else, which could lead to another one, becomes the overview."""
    parts = urlsplit(target)
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local and not parts.scheme and not parts.netloc else "/"
