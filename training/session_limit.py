"""A limit on the sessions that train at the same time, of the whole server and of each tenant.

Each place is a lock file, so that all workers share the limit and a dead session's place is free at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from errors import NotReady, TooManyRequests
from settings import Settings
from storage.filesystem.locks import ProcessLock
from training.context import TrainingRequest

CODE = "too_many_sessions"
_RETRY_SECONDS = 10


@contextmanager
def hold_session_place(settings: Settings, request: TrainingRequest) -> Iterator[None]:
    """Hold a place of the request's tenant and one of the server.

    A first training needs none: a worker runs these one after the other, before anybody is served.

    Raises
    ------
    TooManyRequests
        The tenant's places are taken.
    NotReady
        The server's are.
    """
    if request.kind == "first":
        yield
        return
    tenant, locks = request.key.tenant, settings.run_dir / "locks"
    with ExitStack() as held:
        if not _take_place(locks, f"sessions-{tenant}", settings.max_tenant_sessions, held):
            message = (
                f"{settings.max_tenant_sessions} of your trainings run already. Try again when one has ended."
            )
            error: NotReady | TooManyRequests = TooManyRequests(message, retry_after=_RETRY_SECONDS)
            error.code = CODE
            raise error
        if not _take_place(locks, "sessions", settings.max_sessions, held):
            message = (
                f"{settings.max_sessions} trainings run on this server already. Try again when one has ended."
            )
            error = NotReady(message, retry_after=_RETRY_SECONDS)
            error.code = CODE
            raise error
        yield


def _take_place(folder: Path, name: str, count: int, held: ExitStack) -> bool:
    for number in range(count):
        lock = ProcessLock(folder / f"{name} {number}")
        if lock.acquire(0.0):
            held.callback(lock.release)
            return True
    return False
