"""One request to an OpenAI-compatible endpoint: no redirects, a bounded answer, a checked address."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

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
    timeout_seconds : float
        Time for the whole exchange.
    allow_private : bool
        Whether the address may be one of this machine or of a private network.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_seconds: float = 30.0
    allow_private: bool = False


def request_completion(endpoint: Endpoint, question: Mapping[str, object]) -> str:
    """Return the text of the first choice.

    Raises
    ------
    UnusableAnswer
        The endpoint cannot be reached, refuses, redirects, or does not answer with a text.
    """
    try:
        body = _post(endpoint, json.dumps(question).encode())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnusableAnswer(f"it could not be asked ({type(error).__name__})") from error
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise UnusableAnswer("its answer could not be read") from None
    if not isinstance(text, str):
        raise UnusableAnswer("its answer held no text")
    return text


def _post(endpoint: Endpoint, body: bytes) -> bytes:
    url = urlsplit(endpoint.url)
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=endpoint.timeout_seconds)
    connection.sock = _connect(endpoint, url)
    try:
        connection.request("POST", f"{url.path.rstrip('/')}/chat/completions", body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise UnusableAnswer(f"it answered with status {response.status}")
        content = response.read(MAX_ANSWER_BYTES + 1)
    finally:
        connection.close()
    if len(content) > MAX_ANSWER_BYTES:
        raise UnusableAnswer(f"its answer was larger than {MAX_ANSWER_BYTES // 1024} kB")
    return content


def _connect(endpoint: Endpoint, url: SplitResult) -> socket.socket:
    """Connect to an address that was checked.

    The name is resolved once: a second lookup could return another address than the one that was checked.
    """
    host, secure = url.hostname or "", url.scheme == "https"
    addresses = socket.getaddrinfo(host, url.port or (443 if secure else 80), type=socket.SOCK_STREAM)
    private = [_is_private(str(entry[4][0])) for entry in addresses]
    if any(private) and not endpoint.allow_private:
        raise UnusableAnswer(
            "its address is a private one, which MILLWRIGHT_LANGUAGE_MODEL_ALLOW_PRIVATE does not allow"
        )
    if not secure and not all(private):
        raise UnusableAnswer("a public address is only asked over https")
    address = addresses[0][4]
    plain = socket.create_connection((str(address[0]), int(address[1])), timeout=endpoint.timeout_seconds)
    if not secure:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _is_private(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return not (mapped or parsed).is_global
