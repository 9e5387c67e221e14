"""Tokens without which no tool changes anything.

The first call of a changing tool returns what it would change and a token; the second, with the token, does it. A
token names what it is for, is bound to the tool and to every argument, expires, and is used once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from errors import InvalidContent

LIFETIME_SECONDS = 600.0
"""Long enough for a person to read what would change and to answer."""


class InvalidToken(InvalidContent):
    """A confirmation token does not fit the call; nothing has changed."""

    code = "invalid_confirmation"


class Confirmations:
    """Tokens of this process: a restart makes all of them invalid.

    Parameters
    ----------
    clock : callable
        Seconds, never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def issue(self, tool: str, subject: str, arguments: Mapping[str, object]) -> str:
        """Return a token for one call.

        Parameters
        ----------
        subject : str
            What will change, for the person who confirms: it is the readable part of the token.
        arguments : mapping
            Of the call, without the token; JSON-able.
        """
        expires = f"{self._clock() + LIFETIME_SECONDS:.0f}"
        nonce = secrets.token_hex(4)
        readable = f"{tool} {subject}"
        return f"{readable} #{nonce}.{expires}.{self._sign(readable, nonce, expires, tool, arguments)}"

    def require(self, token: str, tool: str, arguments: Mapping[str, object]) -> None:
        """Use a token up.

        Raises
        ------
        InvalidToken
            It is for another call, has expired, or was used before.
        """
        readable, _, proof = token.rpartition(" #")
        nonce, _, rest = proof.partition(".")
        expires, _, signature = rest.partition(".")
        expected = self._sign(readable, nonce, expires, tool, arguments)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise InvalidToken(
                "This confirmation is for another call: tool and arguments must be those for which it was given. "
                "Call without `confirmation` to get one"
            )
        now = self._clock()
        if now > float(expires):
            raise InvalidToken("This confirmation has expired: call without `confirmation` to get another")
        with self._lock:
            self._used = {used: until for used, until in self._used.items() if until >= now}
            if token in self._used:
                raise InvalidToken("This confirmation was used already: each is for one call")
            self._used[token] = float(expires)

    def _sign(
        self, readable: str, nonce: str, expires: str, tool: str, arguments: Mapping[str, object]
    ) -> str:
        document = json.dumps([readable, nonce, expires, tool, arguments], sort_keys=True, ensure_ascii=True)
        return hmac.new(self._secret, document.encode(), hashlib.sha256).hexdigest()[:32]
