"""Steps that tidy up after a commit: what they fail in is a warning, because the commit has happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from errors import describe_error

log = structlog.get_logger()


@contextmanager
def tidy_up(step: str, **facts: object) -> Iterator[None]:
    """Log whatever the block raises, and go on.

    Only for what somebody else finishes: temporary files are removed at the next start, an applied journal entry by
    whoever takes the store lock next, a note about a file is made anew when the file is read.

    Parameters
    ----------
    step : str
        What is done, for the log.
    """
    try:
        yield
    except Exception as error:  # any kind: none of them can undo the commit
        log.warning("tidying_failed", step=step, reason=describe_error(error), **facts)
