"""Who looks at a page: a signed cookie that names an API key, and a token in every form.

The cookie holds the number of the key, never its secret. A revoked key therefore ends its browser sessions, too.
Forms carry a token that is bound to the key: a page of another site can neither read nor guess it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final, cast

from flask import Flask, Response, current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer

from errors import Forbidden
from storage.db.api_keys import ApiKeys, Identity
from storage.filesystem.checked_write import checked_writer
from storage.filesystem.files import make_folders, storage_errors

COOKIE: Final = "millwright_session"
# One shift: a browser that somebody leaves open asks for the key again the next day.
MAX_AGE_SECONDS: Final = 12 * 3600
_SECRET_BYTES: Final = 32
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_SESSIONS: Final = "millwright.browser_sessions"


class BrowserSessions:
    """The signed cookies and form tokens of one home folder.

    Parameters
    ----------
    secret_file : Path
        Created on the first use; whoever deletes it signs everybody out.
    """

    def __init__(self, secret_file: Path, keys: ApiKeys) -> None:
        self._secret_file = secret_file
        self._keys = keys

    def identify(self) -> Identity | None:
        """Return who signed in with this browser; None where nobody did, or not any more."""
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            return None
        try:
            key_id = self._serializer("session").loads(cookie, max_age=MAX_AGE_SECONDS)
        except BadData:
            return None
        return self._keys.find(key_id) if isinstance(key_id, int) else None

    def start(self, response: Response, caller: Identity) -> None:
        """Set the cookie of a browser that has presented a valid key."""
        response.set_cookie(
            COOKIE,
            self._serializer("session").dumps(caller.key_id),
            max_age=MAX_AGE_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=request.is_secure,
        )

    def create_token(self, caller: Identity) -> str:
        """Return the token of a form that is rendered for this caller."""
        return str(self._serializer("form").dumps(caller.key_id))

    def check_token(self, caller: Identity) -> None:
        """Raise Forbidden unless the form was rendered for this caller, and not long ago."""
        try:
            key_id = self._serializer("form").loads(request.form.get("token", ""), max_age=MAX_AGE_SECONDS)
        except BadData:
            key_id = None
        if key_id != caller.key_id:
            raise Forbidden("This form is too old, or comes from elsewhere: load the page again and repeat")

    def sign_result(self, caller: Identity, result: object) -> str:
        """Return what came of a form, as a text for the address of the page that the form leads to.

        Signed, so that no address of somebody else makes a page say what did not happen.
        """
        return str(self._serializer("result").dumps([caller.key_id, result]))

    def read_result(self, caller: Identity, text: str) -> object | None:
        """Return the result in an address; None where it is of another caller, too old or not signed here."""
        try:
            key_id, result = self._serializer("result").loads(text, max_age=MAX_AGE_SECONDS)
        except BadData:
            return None
        return cast(object, result) if key_id == caller.key_id else None

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._read_secret(), salt=f"millwright.{purpose}")

    def _read_secret(self) -> bytes:
        """Return the secret of this home, which all workers share; the first one that needs it creates it."""
        with storage_errors(self._secret_file):
            if not self._secret_file.exists():
                make_folders(self._secret_file.parent)
                part = self._secret_file.with_name(f".{self._secret_file.name}.{secrets.token_hex(4)}")
                with checked_writer(part, 0o600) as file:
                    file.write(secrets.token_bytes(_SECRET_BYTES))
                try:
                    # A link fails where another worker was faster; its secret is then the one in use.
                    os.link(part, self._secret_file)
                except FileExistsError:
                    pass
                finally:
                    part.unlink()
            return self._secret_file.read_bytes()


def install(app: Flask, sessions: BrowserSessions) -> None:
    """Give the application its browser sessions."""
    app.extensions[_SESSIONS] = sessions


def browser_sessions() -> BrowserSessions:
    """Return the browser sessions of the application that handles this request."""
    return cast(BrowserSessions, current_app.extensions[_SESSIONS])
