"""A gunicorn worker that gives a connection to a thread only once its request is complete.

gunicorn's own ``gthread`` reads in a thread and waits there without a limit after the first byte: as many slow clients
as there are threads stop the server. Here the main loop collects the header and a short body of each connection. A
long or unannounced body is read in a thread, by few connections at a time. All of it has deadlines, and requests for
health have a thread of their own.

Plain HTTP/1.1 only: TLS and HTTP/2 are the business of a proxy.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gunicorn import http
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

HEADER_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
MIN_BODY_BYTES_PER_SECOND: Final = 50_000
# A client that takes nothing of its response for this long loses it.
SEND_SECONDS: Final = 30
MAX_HEADER_BYTES: Final = 65_536
# Longer bodies are read in a thread; a batch of 1,000 predictions has about 300 kB.
MAX_BUFFERED_BODY_BYTES: Final = 1_000_000
# For all connections of a worker together; web workers stay below 400 MB.
MAX_BUFFERED_BYTES: Final = 32_000_000
_PAUSE_SECONDS: Final = 20.0
_CHECK_SECONDS: Final = 0.25
# How long a worker without a free thread leaves new connections to the others.
_BUSY_PAUSE_SECONDS: Final = 0.05
_CHUNK_BYTES: Final = 65_536
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_NEEDS_A_THREAD: Final = re.compile(rb"\r\n(?:transfer-encoding|expect)[ \t]*:", re.IGNORECASE)
_PROBE: Final = re.compile(rb"(?:GET|HEAD) /health[/? ]")


class DeadlineUnreader(SocketUnreader):  # type: ignore[misc]
    """A source of request bytes that ends with ``TimeoutError`` at its deadline."""

    deadline: float = float("inf")
    missing_bytes: int | None = None
    on_complete: Callable[[], None] | None = None

    def chunk(self) -> bytes:
        """Return the next bytes of the socket."""
        before = self.sock.gettimeout()
        left = min(self.deadline - time.monotonic(), _PAUSE_SECONDS)
        if left <= 0:
            raise TimeoutError("the request did not come in time")
        self.sock.settimeout(left if before is None else min(before, left))
        try:
            data = bytes(super().chunk())
        finally:
            self.sock.settimeout(before)
        if self.missing_bytes is not None:
            self.missing_bytes -= len(data)
            if self.missing_bytes <= 0 and self.on_complete is not None:
                self.on_complete()
                self.missing_bytes = None
        return data


@dataclass
class Arrival:
    """A request that is arriving.

    Parameters
    ----------
    deadline : float
        When it is given up, in monotonic seconds.
    size : int, optional
        Bytes of header and body together, once the header is complete.
    reserved : int
        Bytes of the worker's buffer that are set aside for it.
    """

    conn: TConn
    deadline: float
    data: bytearray = field(default_factory=bytearray)
    size: int | None = None
    reserved: int = 0


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """The worker class; ``--worker-class api.operations.buffering_worker.BufferingWorker`` names it."""

    def init_process(self) -> None:
        """Prepare the pools, then serve."""
        self._arriving: dict[TConn, Arrival] = {}
        self._buffered_bytes = 0
        # Long bodies may take a quarter of the threads, so that predictions find one.
        self._max_long = max(1, self.cfg.threads // 4)
        self._long: set[TConn] = set()
        self._waiting: deque[Arrival] = deque()
        self._busy = 0
        self._next_check = 0.0
        self._probes = ThreadPoolExecutor(1, thread_name_prefix="probe")
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection and wait in the main loop for its request."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        limit = struct.pack("@ll", SEND_SECONDS, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.nr_conns += 1
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.parser = http.get_parser(self.cfg, client, address)
        conn.parser.unreader = DeadlineUnreader(client)
        conn.initialized = conn.data_ready = True
        self._receive(conn, b"")
        # Where all places are taken, the one that has waited longest gives way: a complete request always gets in.
        if self.nr_conns >= self.worker_connections and self._arriving:
            self._refuse(
                next(iter(self._arriving.values())), 503, "Too many connections wait. Try again soon."
            )

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Collect the next request of a connection that was kept open."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._receive(conn, b"")

    def finish_request(self, conn: TConn, future: Future[object]) -> None:
        """Keep the connection for the next request, which may have begun already, or close it."""
        self._end_long(conn)
        super().finish_request(conn, future)
        if conn in self.keepalived_conns and (rest := conn.parser.unreader.take_buffered()):
            self.poller.unregister(conn.sock)
            self.keepalived_conns.remove(conn)
            self._receive(conn, rest)

    def murder_pending(self) -> None:
        """End what is overdue; gunicorn calls this in every round of its loop."""
        now = time.monotonic()
        if now < self._next_check and self.alive:
            return
        self._next_check = now + _CHECK_SECONDS
        for arrival in [*self._arriving.values(), *self._waiting]:
            if not self.alive and not arrival.data:
                self._drop(arrival)
            elif arrival.deadline < now and arrival.conn not in self._arriving:
                self._refuse(arrival, 503, "Too many long requests are being read. Try again soon.")
            elif arrival.deadline < now:
                self._refuse(arrival, 408, "The request did not arrive in time. Send it without pauses.")

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, but leave new connections to other workers while no thread is free here."""
        if self.alive and self._busy >= self.cfg.threads and self.cfg.workers > 1:
            self.set_accept_enabled(False)
            super().wait_for_and_dispatch_events(_BUSY_PAUSE_SECONDS)
            self.set_accept_enabled(self.alive and self.nr_conns < self.worker_connections)
            timeout = 0
        is_receiving = bool(self._arriving or self._waiting)
        super().wait_for_and_dispatch_events(min(timeout, _CHECK_SECONDS) if is_receiving else timeout)

    def _receive(self, conn: TConn, data: bytes) -> None:
        """Begin to collect a request."""
        conn.sock.setblocking(False)
        arrival = Arrival(conn, time.monotonic() + HEADER_SECONDS, bytearray(data))
        self._arriving[conn] = arrival
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_data, arrival))
        if data:
            self._advance(arrival)

    def _on_data(self, arrival: Arrival, client: socket.socket) -> None:
        try:
            chunk = client.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            arrival.data += chunk
            self._advance(arrival)
        elif arrival.data:
            # The sender has ended too early; gunicorn says what is wrong with such a request.
            self._dispatch(arrival)
        else:
            self._drop(arrival)

    def _advance(self, arrival: Arrival) -> None:
        """Look at what has come: hand over a complete request, or one whose body is long."""
        if arrival.size is None:
            end = arrival.data.find(b"\r\n\r\n")
            if end < 0:
                if len(arrival.data) > MAX_HEADER_BYTES:
                    self._refuse(arrival, 431, f"The header is over the limit of {MAX_HEADER_BYTES} bytes.")
                return
            head = bytes(arrival.data[: end + 4])
            lengths = [int(match[1]) for match in _LENGTH.finditer(head)]
            length = lengths[0] if len(lengths) == 1 else 0
            arrival.deadline += BODY_SECONDS + length / MIN_BODY_BYTES_PER_SECOND
            is_short = (
                length <= MAX_BUFFERED_BODY_BYTES and self._buffered_bytes + length <= MAX_BUFFERED_BYTES
            )
            if not is_short or len(lengths) > 1 or _NEEDS_A_THREAD.search(head):
                self._take_out(arrival)
                if len(lengths) == 1:
                    # Its place is free once the body is here, not only when the response is out.
                    conn = arrival.conn
                    conn.parser.unreader.missing_bytes = end + 4 + length - len(arrival.data)
                    conn.parser.unreader.on_complete = partial(self.method_queue.defer, self._end_long, conn)
                self._waiting.append(arrival)
                self._start_long()
                return
            arrival.size = end + 4 + length
            arrival.reserved = length
            self._buffered_bytes += length
        if len(arrival.data) >= arrival.size:
            self._dispatch(arrival)

    def _start_long(self) -> None:
        """Give long bodies to threads, as many as may have one."""
        while self._waiting and len(self._long) < self._max_long:
            arrival = self._waiting.popleft()
            self._long.add(arrival.conn)
            self._submit(arrival)

    def _end_long(self, conn: TConn) -> None:
        if conn in self._long:
            self._long.discard(conn)
            self._start_long()

    def _dispatch(self, arrival: Arrival) -> None:
        self._take_out(arrival)
        self._submit(arrival)

    def _submit(self, arrival: Arrival) -> None:
        conn = arrival.conn
        conn.parser.unreader.unread(bytes(arrival.data))
        conn.parser.unreader.deadline = arrival.deadline
        is_probe = _PROBE.match(arrival.data) is not None
        self._busy += not is_probe
        future = (self._probes if is_probe else self.tpool).submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self._finish, conn, done, is_probe))

    def _finish(self, conn: TConn, future: Future[object], is_probe: bool) -> None:
        self._busy -= not is_probe
        self.finish_request(conn, future)

    def _take_out(self, arrival: Arrival) -> None:
        """Stop collecting."""
        if self._arriving.pop(arrival.conn, None) is not None:
            self.poller.unregister(arrival.conn.sock)
            self._buffered_bytes -= arrival.reserved
        elif arrival in self._waiting:
            self._waiting.remove(arrival)

    def _drop(self, arrival: Arrival) -> None:
        self._take_out(arrival)
        self.nr_conns -= 1
        arrival.conn.close()

    def _refuse(self, arrival: Arrival, status: int, sentence: str) -> None:
        """Answer in the form of all errors, without a thread, and close."""
        code = {408: "timeout", 431: "too_large", 503: "not_ready"}[status]
        body = b'{"success":false,"error":"%s","code":"%s"}' % (sentence.encode(), code.encode())
        retry = b"Retry-After: 2\r\n" if status == 503 else b""
        head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n"
        reason = {
            408: b"Request Timeout",
            431: b"Request Header Fields Too Large",
            503: b"Service Unavailable",
        }
        # A client that has sent nothing has asked nothing.
        if arrival.data:
            with contextlib.suppress(OSError):
                arrival.conn.sock.send(head % (status, reason[status], len(body), retry) + body)
        self.log.debug("request_refused %s: %s", status, sentence)
        self._drop(arrival)
