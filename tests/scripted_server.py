"""A server that answers as a test says: a proxy, a server that restarts, or something else altogether."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def scripted(script: dict[str, list[tuple[int, object]]]) -> Iterator[tuple[str, list[str]]]:
    """Run a server that gives each path its answers in turn, the last one for ever.

    Yields its address and the Idempotency-Keys that it gets.
    """
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            keys.extend(self.headers.get_all("Idempotency-Key", []))
            answers = script.get(self.path) or script["*"]
            status, answer = answers.pop(0) if len(answers) > 1 else answers[0]
            body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the name that http.server looks for

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", keys
        server.shutdown()
