"""Server-sent events of one session, read from the database: any worker can tell them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from api.http.json_provider import encode_json
from storage.db.sessions import SessionEvent
from training.services.sessions import SessionService

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
RECONNECT_MILLISECONDS = 2000


class StreamSlots:
    """How many event streams one worker holds open: each takes a thread that predictions need, too."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)
        self.stopping = threading.Event()

    def enter(self) -> bool:
        """Take a place; False where none is free."""
        return not self.stopping.is_set() and self._free.acquire(blocking=False)

    def leave(self) -> None:
        """Give the place back."""
        self._free.release()


class EventStream:
    """The events of a session after a given one, until it ends. Closing it gives the reader's place back."""

    def __init__(self, sessions: SessionService, session_id: int, after: int, readers: StreamSlots) -> None:
        self._sessions = sessions
        self._session_id = session_id
        self._after = after
        self._readers = readers
        self._open = True

    def close(self) -> None:
        """Leave, once."""
        if self._open:
            self._open = False
            self._readers.leave()

    def __iter__(self) -> Iterator[bytes]:
        yield f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()
        last_said = time.monotonic()
        while self._open:
            ended = self._sessions.get(
                self._session_id
            ).has_ended  # asked first: no event can slip in between
            events = self._sessions.events(self._session_id, self._after)
            for event in events:
                self._after, last_said = event.id, time.monotonic()
                yield _frame(event)
            if ended and not events:
                return
            if time.monotonic() - last_said > HEARTBEAT_SECONDS:
                last_said = time.monotonic()
                yield b": still running\n\n"
            if not ended and self._readers.stopping.wait(POLL_SECONDS):
                return


def _frame(event: SessionEvent) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.event.encode(), encode_json(event.data))
