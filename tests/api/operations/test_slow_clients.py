"""Clients that send slowly, or never finish, hold no thread: the others are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
import requests

from tests.live_server import live_server

HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
PENDING = {
    "no byte": b"",
    "half a header": HEAD,
    "half a short body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "half a long body": HEAD + b"Content-Length: 9000000\r\n\r\n{",
    "half a chunked body": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with one worker of four threads."""
    home = tmp_path_factory.mktemp("home")
    with live_server(home, threads=4, demo_data=0, sentence_model="none") as address:
        yield address


@contextlib.contextmanager
def connections(address: str, data: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Open connections that send only this."""
    port = int(address.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(count)
        ]
        for connection in opened:
            connection.sendall(data)
        yield opened


@pytest.mark.parametrize("pending", PENDING)
def test_forty_slow_clients_keep_nobody_waiting(address, pending):
    with connections(address, PENDING[pending], 40):
        for path in ("/health/live", "/health/ready", "/models"):
            assert requests.get(address + path, timeout=5).status_code == 200
        # A short body is complete in a moment, and needs no place among the long ones.
        answer = requests.post(f"{address}/predict", json={"records": []}, timeout=5)
        assert answer.status_code in (409, 422), answer.text


def test_a_header_that_is_not_complete_in_time_is_answered_408(address):
    with connections(address, HEAD, 1) as [connection]:
        answer = b""
        begin = time.monotonic()
        while not answer and time.monotonic() - begin < 20:
            with contextlib.suppress(OSError):
                connection.send(b"x: 1\r\n")  # a byte now and then does not extend the deadline
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(4096)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 "), answer
    assert json.loads(body)["code"] == "timeout"


def test_a_header_over_the_limit_is_answered_431(address):
    with connections(address, HEAD + b"x: " + b"y" * 70_000, 1) as [connection]:
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_more_connections_than_places_keep_nobody_waiting(address):
    with connections(address, HEAD, 510):
        assert requests.get(f"{address}/health/ready", timeout=5).status_code == 200
        assert requests.get(f"{address}/models", timeout=5).status_code == 200


def test_requests_that_come_together_are_all_answered(address):
    one = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connections(address, one * 3, 1) as [connection]:
        connection.settimeout(5)
        answers = b""
        while answers.count(b'"status":"ok"') < 3:
            answers += connection.recv(4096)
    assert answers.count(b"HTTP/1.1 200 ") == 3


def test_a_body_in_pieces_is_read_whole(address):
    body = b'{"records": []}'
    with connections(address, HEAD + b"Content-Length: %d\r\n\r\n" % len(body), 1) as [connection]:
        for byte in body:
            connection.send(bytes([byte]))
            time.sleep(0.01)
        assert connection.recv(4096).startswith((b"HTTP/1.1 409 ", b"HTTP/1.1 422 "))
