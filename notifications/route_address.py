"""Addresses of routes: what each kind takes, and what of it may be shown."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from notifications.quiet_hours import check_quiet_hours, invalid_field
from storage.alarms.tables import ROUTE_KINDS
from storage.db.crud import Row

# Of what apprise reaches, the services that cannot be pointed at this machine's files, desktop or devices.
APPRISE_SCHEMES: Final = ("mailto", "mailtos", "slack", "workflow", "workflows")
# Parameters of theirs that name a file of this machine, which would be read and sent.
FILE_PARAMETERS: Final = {"template", "pgp", "pgppub", "pgpprv"}
# apprise separates parameters by ? & ; and reads on after #. Its own process checks what it has read.
_FILE_PARAMETER: Final = re.compile(rf"[?&;#,\s](?:{'|'.join(sorted(FILE_PARAMETERS))})\s*=", re.IGNORECASE)
_SCHEMES: Final = {"webhook": ("https", "http"), "mqtt": ("mqtts", "mqtt"), "apprise": APPRISE_SCHEMES}
_MIN_SECRET_LENGTH: Final = 16
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x20\x7f]")


def check_route(row: Row) -> None:
    """Check that the fields of a route belong together.

    Raises
    ------
    InvalidContent
        The first thing that is wrong; the message quotes neither address nor secret.
    """
    kind, url = row["kind"], row["url"]
    schemes = _SCHEMES[kind]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise invalid_field("url", "its host or its port cannot be read") from None
    if parts.scheme not in schemes:
        raise invalid_field(
            "url", f"a route of kind {kind} needs a URL that begins with {_enumerate(schemes)}"
        )
    if _CONTROL_CHARACTER.search(url):
        raise invalid_field("url", "it has a space or a control character: write it as %20 and so on")
    if kind == "apprise" and (found := _FILE_PARAMETER.search(unquote(url))):
        raise invalid_field(
            "url", f"the parameter {found[0][1:-1].strip()} is refused: it names a file of this machine"
        )
    if kind != "apprise" and not host:
        raise invalid_field("url", "it has no host")
    if kind != "apprise" and (parts.username or parts.password):
        raise invalid_field("url", "it has a user or password: send them as username and secret")
    secret = row.get("secret") or ""
    if kind == "webhook" and len(secret) < _MIN_SECRET_LENGTH:
        raise invalid_field(
            "secret", f"a webhook is signed: send a secret of at least {_MIN_SECRET_LENGTH} characters"
        )
    if kind == "mqtt" and not _is_topic(row.get("topic") or ""):
        raise invalid_field("topic", "send a topic such as plant/alarms, without + and #")
    if row.get("quiet_hours") is not None:
        check_quiet_hours(row["quiet_hours"])


def check_change(before: Row, after: Row, *, has_new_secret: bool) -> None:
    """Check that a stored secret stays with the server that it was given for.

    Raises
    ------
    InvalidContent
        The address leads to another server, or not encrypted to the same, and the secret was not sent again.
    """
    if before.get("secret") is None or has_new_secret:
        return
    if _origin(before) != _origin(after):
        raise invalid_field("secret", "the address leads elsewhere: send the secret again with it")


def _origin(row: Row) -> tuple[str, str, str | None, int | None]:
    parts = urlsplit(row["url"])
    return row["kind"], parts.scheme, parts.hostname, parts.port


def hide_address(kind: str, url: str) -> str:
    """Return what of a route's URL may be shown: scheme and host of it, since its path may be a secret."""
    assert kind in ROUTE_KINDS
    parts = urlsplit(url)
    if kind == "apprise" and not parts.scheme.startswith("mailto"):
        return f"{parts.scheme}://…"  # the host of a Slack or Teams address is a token
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{'/…' if len(parts.path) > 1 or parts.query else ''}"


def _is_topic(topic: str) -> bool:
    return bool(topic) and not re.search(r"[+#\x00]", topic)


def _enumerate(schemes: tuple[str, ...]) -> str:
    names = [f"{scheme}://" for scheme in schemes]
    return f"{', '.join(names[:-1])} or {names[-1]}"
