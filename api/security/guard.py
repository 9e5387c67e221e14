"""Who may do what, and from where: a web page must never drive a server that listens on localhost."""

from __future__ import annotations

import ipaddress
import re
import time

from flask import Flask, Response, current_app, request

from api.http.context import manager, set_identity
from api.http.request_body import JSON, has_body
from api.http.resource import AccessPolicy, access_policy_of
from api.security.rate_limit import RateLimit
from errors import Forbidden, MalformedBody, Unauthorized, UnsupportedMediaType
from settings import Settings
from storage.db.api_keys import ROLES, Identity

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
WILDCARDS = frozenset({"0.0.0.0", "::", "[::]", "*"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KEYS_SEEN_SECONDS = 1.0
OPEN_IDENTITY = Identity(tenant="default", role="admin", key_id=0)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.ASCII)


def install(app: Flask, settings: Settings) -> None:
    """Check every request of this application before its view is reached."""
    guard = Guard(settings)
    app.before_request(guard.check)
    app.after_request(add_headers)


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def add_headers(response: Response) -> Response:
    """Headers that keep browsers from doing anything clever with an answer."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class Guard:
    """The checks every request passes, in their order."""

    def __init__(self, settings: Settings) -> None:
        named = (settings.host, *settings.allowed_hosts)
        self.hosts = LOOPBACK_NAMES | {_bracketed(name) for name in named}
        self.any_address = settings.host in WILDCARDS
        self.rate_limit = (
            RateLimit(settings.run_dir / "rate_limit", settings.rate_limit) if settings.rate_limit else None
        )
        self._keys_exist = False
        self._keys_seen_at = float("-inf")

    def check(self) -> None:
        """Raise what forbids the request, or leave the caller's identity in ``g``."""
        self._check_host()
        if request.method not in SAFE_METHODS:
            _check_origin()
        access_policy = access_policy_of(current_app.view_functions.get(request.endpoint or ""))
        if access_policy is not None and request.method != "OPTIONS":  # which asks for nothing but methods
            _check_content_type(access_policy)
            self._check_caller(access_policy)

    def _check_host(self) -> None:
        """A rebound DNS name sends no Origin: the Host header is all that gives it away."""
        host = request.environ.get("HTTP_HOST", "")
        match = _HOST.fullmatch(host)
        if match is None:
            raise MalformedBody("The Host header is missing or cannot be read")
        name = match[1].lower()
        if name not in self.hosts and not (self.any_address and _is_address(name)):
            raise Forbidden(
                "This server does not answer under that Host name; MILLWRIGHT_ALLOWED_HOSTS adds names"
            )

    def _check_caller(self, access_policy: AccessPolicy) -> None:
        if access_policy.role is None:
            return
        caller = self._counted(_presented_key())
        set_identity(caller)
        if ROLES.index(caller.role) < ROLES.index(access_policy.role):
            raise Forbidden(f"This needs a key with the role {access_policy.role}; yours is {caller.role}")

    def _counted(self, secret: str | None) -> Identity:
        """Who asks. A key that is known has a limit of its own; invented ones count for their address."""
        address = f"address {request.remote_addr}"
        try:
            caller = self._identified(secret)
        except Unauthorized:
            self._count(address)
            raise
        self._count(address if secret is None else f"key {caller.key_id}")
        return caller

    def _count(self, caller: str) -> None:
        if self.rate_limit is not None:
            self.rate_limit.count(caller)

    def _identified(self, secret: str | None) -> Identity:
        if secret is not None:
            found = manager().storage.keys.authenticate(secret)
            if found is None:
                raise Unauthorized("This API key is unknown or revoked")
            return found
        if self._has_keys() or not _from_this_machine():
            raise Unauthorized("Send an API key: Authorization: Bearer mw_…, or X-API-Key")
        return OPEN_IDENTITY

    def _has_keys(self) -> bool:
        """Whether any key exists: keys that were seen are believed in for a second, their lack never is."""
        if not self._keys_exist or time.monotonic() - self._keys_seen_at > KEYS_SEEN_SECONDS:
            self._keys_exist = bool(manager().storage.keys.list())
            self._keys_seen_at = time.monotonic()
        return self._keys_exist


def _check_origin() -> None:
    """A browser says where a request comes from; only our own pages may change anything."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in (f"http://{request.host}", f"https://{request.host}"):
        raise Forbidden("A page of another origin may not do this")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("A page of another site may not do this")


def _check_content_type(access_policy: AccessPolicy) -> None:
    if request.method in SAFE_METHODS or not has_body():
        return
    if request.mimetype not in access_policy.accepts:
        raise UnsupportedMediaType(f"Send the body as {' or '.join(access_policy.accepts)}")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype == JSON and charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("Send JSON as UTF-8")


def _presented_key() -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return request.headers.get("X-API-Key")


def _from_this_machine() -> bool:
    return not request.remote_addr or is_loopback(request.remote_addr)


def _bracketed(host: str) -> str:
    return f"[{host}]".lower() if ":" in host and not host.startswith("[") else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
