"""Server-sent events of one session, read from the database, so that any worker can send them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from api.http.json_provider import encode_json
from training.services.sessions import SessionService

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
RECONNECT_MILLISECONDS = 2000
WAIT_SLOTS = "millwright.wait_slots"


class WaitSlots:
    """A limit on the event streams and waiting clients of one worker: each takes a thread that predictions need."""

    def __init__(self, limit: int) -> None:
        self._free = threading.BoundedSemaphore(limit)
        self.stopping = threading.Event()

    def acquire(self) -> bool:
        """Take a slot; return False where none is free, or the worker stops."""
        return not self.stopping.is_set() and self._free.acquire(blocking=False)

    def release(self) -> None:
        """Give a slot back."""
        self._free.release()


class EventStream:
    """The events of a session after a given one, until it ends. Closing it releases its slot."""

    def __init__(self, sessions: SessionService, session_id: int, after: int, slots: WaitSlots) -> None:
        self._sessions = sessions
        self._session_id = session_id
        self._after = after
        self._slots = slots
        self._open = True

    def close(self) -> None:
        """Stop, and release the slot; a second call changes nothing."""
        if self._open:
            self._open = False
            self._slots.release()

    def __iter__(self) -> Iterator[bytes]:
        yield f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()
        last_sent = time.monotonic()
        while self._open:
            # The state is read before the events: an event cannot slip in between and be lost.
            ended = self._sessions.get(self._session_id).has_ended
            events = self._sessions.events(self._session_id, self._after)
            for event in events:
                self._after, last_sent = event.id, time.monotonic()
                yield (
                    b"id: %d\nevent: %s\ndata: %s\n\n"
                    % (event.id, event.event.encode(), encode_json(event.data))
                )
            if ended and not events:
                return
            if time.monotonic() - last_sent > HEARTBEAT_SECONDS:
                last_sent = time.monotonic()
                yield b": still running\n\n"
            if not ended and self._slots.stopping.wait(POLL_SECONDS):
                return
