"""Two ways to the training manager: through a running server, or in this process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Protocol

from cli.console import echo_warning, load_settings
from errors import BodyTooLarge, ConfigurationError, MillwrightError, NotReady
from storage.db.sessions import ENDED_STATES, STORED_STATES

JSON = dict[str, Any]
CONNECT_TIMEOUT_SECONDS = 3.0
ANSWER_TIMEOUT_SECONDS = 600.0
POLL_SECONDS = 0.5
# A server that restarts in the middle of a training is back within this time, and the session with it.
RESTART_SECONDS = 60.0
_TOO_LARGE, _SERVER_ERROR = 413, 500


class ServerUnreachable(NotReady):
    """Nothing answers at the address, or not a Millwright server."""


class TrainingClient(Protocol):
    """What commands need in order to train the scoring model."""

    location: str

    def preview(self, records: list[JSON]) -> JSON:
        """Return what a training with these records would do."""

    def train(self, records: list[JSON]) -> JSON:
        """Train, and return the session when it has ended."""

    def close(self) -> None:
        """Release connections or child processes."""


class ServerClient:
    """A running server.

    Parameters
    ----------
    url : str
        Its address, such as ``http://127.0.0.1:5000``; default: the server of this installation.
    api_key_file : Path, optional
        File with an API key.
    """

    def __init__(self, url: str | None = None, api_key_file: Path | None = None) -> None:
        import requests

        self.location = (url or local_server_url()).rstrip("/")
        self._session = requests.Session()
        if api_key_file is not None:
            self._session.headers["Authorization"] = f"Bearer {read_api_key(api_key_file)}"

    def is_running(self) -> bool:
        """Return whether a Millwright server answers at this address.

        Raises
        ------
        MillwrightError
            A server answers with an error: it is there, and must not be passed by.
        """
        try:
            self.get("/health/live")
        except ServerUnreachable:
            return False
        return True

    def preview(self, records: list[JSON]) -> JSON:
        return self.post("/train?dry_run=1", records)

    def train(self, records: list[JSON]) -> JSON:
        """Train in the background and poll: a proxy may cut off a request that takes as long as a training."""
        answer = self.request("POST", "/train", json=records, headers={"Prefer": "respond-async"})
        path = answer.get("location")
        session = self._wait_for_end(str(path)) if path else answer
        if path and session["state"] not in STORED_STATES:
            raise _session_error(session)
        return {"success": True, **session}

    def _wait_for_end(self, path: str) -> JSON:
        last_answer = time.monotonic()
        while True:
            try:
                session = self.get(path)
                last_answer = time.monotonic()
                if session["state"] in ENDED_STATES:
                    return session
            except NotReady:
                if time.monotonic() - last_answer > RESTART_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)

    def get(self, path: str) -> JSON:
        """Return the JSON at a path.

        Raises
        ------
        MillwrightError
            The error that the server answered, or ServerUnreachable where no server answers.
        """
        return self.request("GET", path)

    def post(self, path: str, document: Any = None) -> JSON:
        """Return the answer to a POST; errors as in ``get``."""
        return self.request("POST", path, json=document)

    def request(self, method: str, path: str, **options: Any) -> JSON:
        """Send a request and return the JSON of the answer; errors as in ``get``."""
        import requests

        from api.http.errors import error_from_dict

        try:
            timeout = (CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS)
            response = self._session.request(method, self.location + path, timeout=timeout, **options)
            body = response.json()
        except requests.exceptions.InvalidURL as error:
            raise ServerUnreachable(f"{self.location} is not a valid URL") from error
        except requests.exceptions.JSONDecodeError as error:
            raise self._foreign_answer(response.status_code) from error
        except requests.RequestException as error:
            raise ServerUnreachable(f"No server answers at {self.location}: is it running?") from error
        if not response.ok:
            raise error_from_dict(response.status_code, body)
        return dict(body)

    def _foreign_answer(self, status: int) -> MillwrightError:
        """Return the error for an answer that is not JSON: a proxy's, or another program's."""
        if status == _TOO_LARGE:
            return BodyTooLarge(f"A proxy in front of {self.location} refuses bodies of this size (413)")
        if status >= _SERVER_ERROR:
            return NotReady(
                f"A proxy in front of {self.location} answered {status}: the server may still be busy"
            )
        return ServerUnreachable(f"What answers at {self.location} is not a Millwright server")

    def close(self) -> None:
        self._session.close()


def _session_error(session: JSON) -> MillwrightError:
    from api.http.errors import error_from_dict
    from api.training.training_response import ERROR_STATUSES

    error = session.get("error") or {}
    status = int(error.get("status", ERROR_STATUSES[session["state"]]))
    facts = {name: session[name] for name in ("training_session_id", "state")}
    return error_from_dict(status, {"error": session["message"], **error, **facts})


class LocalClient:
    """The training manager in this process. Locks keep it apart from running servers."""

    def __init__(self) -> None:
        from prediction.contract import ModelKey
        from training_manager import open_manager

        settings = load_settings()
        self.location = f"in this process ({settings.home})"
        self._manager = open_manager(settings)
        self._key = ModelKey("scoring")

    def preview(self, records: list[JSON]) -> JSON:
        return self._manager.preview(self._key, records)

    def train(self, records: list[JSON]) -> JSON:
        from api.training.training_response import build_response

        answer: JSON = build_response(self._manager.train(self._key, records), self._key)
        return answer

    def close(self) -> None:
        self._manager.close()


def open_client(url: str | None, api_key_file: Path | None, local: bool) -> TrainingClient:
    """Return the server at the URL, else the server of this installation, else this process.

    Raises
    ------
    ServerUnreachable
        No server answers at the URL; or none was given, none runs here, and the home folder has no data.
    """
    if local:
        return LocalClient()
    server = ServerClient(url, api_key_file)
    if url:
        server.get("/health/live")
        return server
    if server.is_running():
        return server
    settings = load_settings()
    if not any(settings.data_dir.glob("*.csv")) and not (settings.data_dir / "millwright.db").exists():
        # A cron job without the service's MILLWRIGHT_HOME would otherwise start a second plant here.
        raise ServerUnreachable(
            f"No server answers at {server.location}, and {settings.home} has no data. Start the server, set "
            "MILLWRIGHT_HOME to the folder with the data, or train here with --local"
        )
    echo_warning(f"No server answers at {server.location}: training in this process, in {settings.home}")
    return LocalClient()


def read_api_key(file: Path) -> str:
    """Return the API key of a file: the key itself, lines with comments, or the JSON of ``keys create``.

    Raises
    ------
    ConfigurationError
        There is no key in the file, or more than one.
    """
    text = file.read_text(encoding="utf-8-sig", errors="replace").strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text)["secret"])
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"{file} has no API key: its JSON has no field `secret`") from None
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if len(keys) != 1 or not keys[0].isascii() or len(keys[0].split()) != 1:
        raise ConfigurationError(f"{file} has no API key: one line like mw_… is expected")
    return keys[0]


def local_server_url() -> str:
    """Return the address at which the server of this installation listens."""
    settings = load_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"
