"""The checks that every request passes: host, origin, content type, key, role and rate.

A web page must never drive a server that listens on localhost, so the first two hold without any keys.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from flask import Flask, Response, current_app, request

from api.http.context import set_identity
from api.http.request_body import JSON_TYPE, has_body
from api.http.resource import AccessPolicy, access_policy_of
from api.security import browser_session
from api.security.browser_session import FORM_TYPE, BrowserSessions
from api.security.rate_limit import RateLimit
from errors import Forbidden, MalformedBody, MillwrightError, Unauthorized, UnsupportedMediaType
from settings import Settings
from storage.db.api_keys import ROLES, ApiKeys, Identity

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_WILDCARDS = frozenset({"0.0.0.0", "::", "[::]", "*"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_IDENTITY = Identity(tenant="default", role="admin", key_id=0)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers name no origin in the forms of our own pages, and they would be refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.ASCII)


GUARD = "millwright.guard"


def install(app: Flask, settings: Settings, keys: ApiKeys) -> None:
    """Check every request of this application before its view is reached."""
    sessions = BrowserSessions(settings.data_dir / "dashboard.secret", keys)
    browser_session.install(app, sessions)
    app.extensions[GUARD] = guard = Guard(settings, keys, sessions)
    app.before_request(guard.check)
    app.after_request(add_security_headers)


def is_loopback(host: str) -> bool:
    """Return whether an address to bind to is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def add_security_headers(response: Response) -> Response:
    """Add the headers that keep browsers from framing, sniffing or caching a response."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class Guard:
    """The checks of one application, in their order."""

    def __init__(self, settings: Settings, keys: ApiKeys, sessions: BrowserSessions) -> None:
        names = (settings.host, *settings.allowed_hosts)
        self._hosts = _LOOPBACK_NAMES | {_normalize_host(name) for name in names}
        self._any_address = settings.host in _WILDCARDS
        self._keys = keys
        self._sessions = sessions
        self._rate_limit: RateLimit | None = None
        if settings.rate_limit:
            self._rate_limit = RateLimit(settings.run_dir / "rate_limit", settings.rate_limit)

    def check(self) -> None:
        """Raise what forbids the request, or record the caller's identity."""
        self._check_host()
        if request.method not in _SAFE_METHODS:
            _check_origin()
        policy = access_policy_of(current_app.view_functions.get(request.endpoint or ""))
        # OPTIONS asks for the methods of an address and reads nothing.
        if policy is None or request.method == "OPTIONS":
            return
        if request.method not in _SAFE_METHODS and has_body():
            _check_content_type(policy)
        if policy.role is not None:
            caller = self._authenticate(policy)
            set_identity(caller)
            if ROLES.index(caller.role) < ROLES.index(policy.role):
                raise Forbidden(f"This needs a key with the role {policy.role}; yours is {caller.role}")
            if _is_form(policy):
                # The token is a part of the body: room for a large one is made first, and only for who may send it.
                if policy.before_body is not None:
                    policy.before_body()
                self._sessions.check_token(caller)

    def identify_optional(self) -> None:
        """Record who calls a route that is open to everybody, where a key or this machine says so."""
        with suppress(MillwrightError):
            set_identity(self._identify(_presented_key()))

    def _check_host(self) -> None:
        # A rebound DNS name sends no Origin: the Host header is all that gives it away.
        match = _HOST.fullmatch(request.environ.get("HTTP_HOST", ""))
        if match is None:
            raise MalformedBody("The Host header is missing or cannot be read")
        name = match[1].lower()
        if name not in self._hosts and not (self._any_address and _is_address(name)):
            raise Forbidden(
                "This server does not answer under that Host name; MILLWRIGHT_ALLOWED_HOSTS adds names"
            )

    def _authenticate(self, policy: AccessPolicy) -> Identity:
        """Return the caller. A known key is rate-limited by itself; anything else counts for its address."""
        secret, address = _presented_key(), f"address {request.remote_addr}"
        try:
            caller = self._identify_browser(policy, secret) or self._identify(secret)
        except Unauthorized:
            self._count(address)
            raise
        self._count(address if caller.key_id == _OPEN_IDENTITY.key_id else f"key {caller.key_id}")
        return caller

    def _identify_browser(self, policy: AccessPolicy, secret: str | None) -> Identity | None:
        """Return who signed in with this browser. A cookie reads, and sends the forms of pages, which have a token.

        Any other change needs the key itself: a cookie travels with every request of the browser.
        """
        if secret is not None or not (request.method in _SAFE_METHODS or _is_form(policy)):
            return None
        return self._sessions.identify()

    def _identify(self, secret: str | None) -> Identity:
        if secret is not None:
            caller = self._keys.authenticate(secret)
            if caller is None:
                raise Unauthorized("This API key is unknown or revoked")
            return caller
        from_this_machine = not request.remote_addr or is_loopback(request.remote_addr)
        if self._keys.any_exist() or not from_this_machine:
            raise Unauthorized("Send an API key: Authorization: Bearer mw_…, or X-API-Key")
        return _OPEN_IDENTITY

    def _count(self, caller: str) -> None:
        if self._rate_limit is not None:
            self._rate_limit.count(caller)


def _is_form(policy: AccessPolicy) -> bool:
    """Return whether a route reads the form of a page, which carries a token."""
    return FORM_TYPE in policy.content_types


def _check_origin() -> None:
    """Refuse what a browser sends for a page of another origin."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in (f"http://{request.host}", f"https://{request.host}"):
        raise Forbidden("A page of another origin may not do this")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("A page of another site may not do this")


def _check_content_type(policy: AccessPolicy) -> None:
    if request.mimetype not in policy.content_types:
        raise UnsupportedMediaType(f"Send the body as {' or '.join(policy.content_types)}")
    encodings = ("identity", "gzip") if policy.accepts_gzip else ("identity",)
    if request.headers.get("Content-Encoding", "identity").lower() not in encodings:
        raise UnsupportedMediaType("Send the body without Content-Encoding")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype == JSON_TYPE and charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("Send JSON as UTF-8")


def _presented_key() -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    # Clients of InfluxDB say "Token"; Telegraf does so without a token, too, which is no key.
    key = value.strip() if scheme.lower() in ("bearer", "token") else ""
    return key or request.headers.get("X-API-Key")


def _normalize_host(host: str) -> str:
    return f"[{host}]".lower() if ":" in host and not host.startswith("[") else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
