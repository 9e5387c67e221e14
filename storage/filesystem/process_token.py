"""The token of this process: what it is called in temporary names and in the database."""

from __future__ import annotations

import os
import secrets

_token = secrets.token_hex(8)


def own_token() -> str:
    """Return the token: random, and another one after a fork."""
    return _token


def _renew() -> None:
    global _token  # noqa: PLW0603
    _token = secrets.token_hex(8)


os.register_at_fork(after_in_child=_renew)
