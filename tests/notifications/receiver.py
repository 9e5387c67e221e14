"""A receiver of webhooks that answers as a test tells it to: well, not at all, or with a redirect."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A status: the connection is closed without an answer.
CLOSED = -1


@dataclass
class Request:
    """A message as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def alarms(self) -> list[dict[str, Any]]:
        return json.loads(self.body)["alarms"]


@dataclass
class Receiver:
    """``statuses`` are answered one after the other, the last one from then on; 0 never answers."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None
    over: threading.Event = field(default_factory=threading.Event)
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/token-of-the-route"

    def next_status(self, request: Request) -> int:
        with self.guard:
            self.requests.append(request)
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    @property
    def alarms(self) -> list[dict[str, Any]]:
        with self.guard:
            return [alarm for request in self.requests for alarm in request.alarms]


@contextmanager
def receive() -> Iterator[Receiver]:
    """Return a receiver that listens on a port of its own."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.next_status(Request(self.path, dict(self.headers.items()), body))
            receiver.on_request()
            if status == 0:
                receiver.over.wait()
                return
            if status == CLOSED:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
