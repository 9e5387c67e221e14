"""The process that sends through `apprise`: one JSON order a line on standard input, one answer a line.

Run with the private networks that may be reached: ``python -m notifications.apprise_process 10.0.0.0/8``.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notifications.address_policy import AddressPolicy, AddressRefused, parse_networks
from notifications.route_address import APPRISE_SCHEMES, FILE_PARAMETERS


def main() -> None:
    """Answer orders until standard input ends."""
    guard = _install_guard(parse_networks(sys.argv[1:]))
    import apprise  # after the guard, so that nothing can have kept the unguarded lookup

    logging.disable(logging.CRITICAL)  # its log names addresses and tokens
    for line in sys.stdin:
        order = json.loads(line)
        guard.clear()
        sys.stdout.write(json.dumps({"error": _send(apprise, order, guard)}) + "\n")
        sys.stdout.flush()


def _send(apprise: Any, order: dict[str, str], refusals: list[str]) -> str | None:
    """Send one message; return why it was not taken."""
    from apprise.plugins import url_to_dict  # after the guard as well

    parsed = url_to_dict(order["url"])  # type: ignore[no-untyped-call]
    if parsed and (parsed["schema"] not in APPRISE_SCHEMES or FILE_PARAMETERS & parsed["qsd"].keys()):
        return "the address is refused: it is of another service, or has a parameter that names a file"
    # Not apprise.Apprise().add, which reads a list of addresses.
    service = apprise.Apprise.instantiate(parsed) if parsed else None
    if service is None:
        return "apprise cannot read the address: compare it with the pages of the service at appriseit.com"
    try:
        is_taken = bool(service.notify(title=order["title"], body=order["body"]))
    except Exception as error:  # a fault of one service must not end the process
        return describe_failure(error, refusals)
    if is_taken:
        return None
    return refusals[0] if refusals else "the service did not take the message"


def describe_failure(error: Exception, refusals: Sequence[str]) -> str:
    """Return why a service failed: an address that was refused, else the error and where it was raised.

    The text of the error is left out: it may hold the address or a token.
    """
    if refusals:
        return refusals[0]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"apprise failed ({type(error).__name__} at {Path(place.filename).name}:{place.lineno})"


def _install_guard(policy: AddressPolicy) -> list[str]:
    """Let every lookup of this process return allowed addresses only; refusals are noted in the list."""
    refusals: list[str] = []
    look_up = socket.getaddrinfo

    def look_up_checked(*arguments: Any, **options: Any) -> Any:
        entries = look_up(*arguments, **options)
        try:
            for entry in entries:
                policy.check(str(entry[4][0]))
        except AddressRefused as error:
            refusals.append(str(error))
            raise socket.gaierror(socket.EAI_NONAME, "the address is refused") from error
        return entries

    # What a service connects to, after a redirect as well, comes from here and is not looked up again.
    socket.getaddrinfo = look_up_checked
    return refusals


if __name__ == "__main__":
    main()
