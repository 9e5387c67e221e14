"""One request to an OpenAI-compatible endpoint: no redirect, no endless answer, no forbidden address."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

JSON = dict[str, Any]

MAX_ANSWER_BYTES: Final = 256 * 1024


class UnusableAnswer(Exception):
    """The language model's text cannot be used; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Parameters
    ----------
    url : str
        Base URL; ``/chat/completions`` is appended.
    seconds : float
        How long to wait in all.
    private : bool
        Whether addresses of this machine and of private networks may be asked.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    seconds: float = 30.0
    private: bool = False


def request_completion(endpoint: Endpoint, question: JSON) -> str:
    """The text of the first choice.

    Raises
    ------
    Unusable
        It cannot be reached, refuses, redirects, or answers anything else than was asked.
    """
    try:
        body = _posted(endpoint, json.dumps(question).encode())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnusableAnswer(f"it could not be asked ({type(error).__name__})") from error
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise UnusableAnswer("its answer could not be read") from None
    if not isinstance(text, str):
        raise UnusableAnswer("its answer held no text")
    return text


def _posted(endpoint: Endpoint, body: bytes) -> bytes:
    where = urlsplit(endpoint.url)
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=endpoint.seconds)
    connection.sock = _connected(endpoint, where)
    try:
        connection.request("POST", f"{where.path.rstrip('/')}/chat/completions", body, headers)
        return _read(connection.getresponse())
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse) -> bytes:
    if response.status != 200:
        raise UnusableAnswer(f"it answered with status {response.status}")
    body = response.read(MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise UnusableAnswer(f"its answer was larger than {MAX_ANSWER_BYTES // 1024} kB")
    return body


def _connected(endpoint: Endpoint, where: SplitResult) -> socket.socket:
    """A connection to an address that was checked: the name is not looked up again in between."""
    host, secure = where.hostname or "", where.scheme == "https"
    found = socket.getaddrinfo(host, where.port or (443 if secure else 80), type=socket.SOCK_STREAM)
    private = [_is_private(str(entry[4][0])) for entry in found]
    if any(private) and not endpoint.private:
        raise UnusableAnswer(
            "its address is a private one, which MILLWRIGHT_LANGUAGE_MODEL_PRIVATE does not allow"
        )
    if not secure and not all(private):
        raise UnusableAnswer("a public address is only asked over https")
    address = found[0][4]
    plain = socket.create_connection((str(address[0]), int(address[1])), timeout=endpoint.seconds)
    if not secure:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _is_private(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return not (mapped or found).is_global
