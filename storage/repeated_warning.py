"""Warnings of what is tried again and again: a failure that lasts is logged once, not with every attempt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from errors import MillwrightError, describe_error

log = structlog.get_logger()


class RepeatedWarning:
    """Logs a failure when it begins, when its reason changes, and when it has ended.

    A loop that tries again every second would otherwise fill the disk that it waits for.

    Parameters
    ----------
    event : str
        Name of the log event; that of its end is ``<event>_ended``.
    facts
        Logged with both.

    Attributes
    ----------
    reason : str
        What the last attempts failed in; empty where none has since an attempt succeeded.
    """

    def __init__(self, event: str, **facts: object) -> None:
        self.reason = ""
        self._event = event
        self._facts = facts

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Log what the block raises, and go on. A block that has succeeded calls `end`."""
        try:
            yield
        except Exception as error:  # of whatever kind: the next attempt must be made
            self.note(error)

    def note(self, error: Exception) -> None:
        """Log a failure, unless the attempt before has failed in the same."""
        is_expected = isinstance(error, MillwrightError)
        reason = describe_error(error)
        if reason != self.reason:
            log.warning(self._event, reason=reason, exc_info=None if is_expected else error, **self._facts)
        self.reason = reason

    def end(self) -> None:
        """Log that an attempt has succeeded, where those before have failed."""
        if self.reason:
            log.info(f"{self._event}_ended", **self._facts)
        self.reason = ""
