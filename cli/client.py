"""Two ways to the training manager: through a running server, or in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypedDict, cast

from cli.console import echo_warning, load_local_settings, load_settings
from errors import BodyTooLarge, ConfigurationError, MillwrightError, NotReady
from millwright_client import ApiError, Connection, ServerUnreachableError, start_session
from prediction.contract import JSON, Record
from storage.home import has_data

_KINDS: dict[str, type[MillwrightError]] = {kind.code: kind for kind in (BodyTooLarge, NotReady)}


class NoServerRunning(NotReady):
    """Nothing answers at the address, or not a Millwright server."""


class Preview(TypedDict, total=False):
    """What a training would do; the fields that commands show."""

    records_new: int
    warnings: list[str]
    ignored_fields: list[str]


class TrainingEnd(TypedDict, total=False):
    """How a training has ended; ``training_session_id`` is None where there was nothing new."""

    success: bool
    message: str
    training_session_id: int | None
    state: str
    promoted: bool | None
    reasons: list[str]
    error: dict[str, object] | None


class TrainingClient(Protocol):
    """What commands need in order to train the scoring model."""

    location: str

    def preview(self, records: Sequence[Record]) -> Preview:
        """Return what a training with these records would do."""

    def train(self, records: Sequence[Record], /) -> TrainingEnd:
        """Train, and return the session when it has ended."""

    def close(self) -> None:
        """Release connections or child processes."""


class ServerClient:
    """A running server, whose errors become those of the commands.

    Parameters
    ----------
    url : str
        Its address, such as ``http://127.0.0.1:5000``; default: the server of this installation.
    api_key_file : Path, optional
        File with an API key.
    """

    def __init__(self, url: str | None = None, api_key_file: Path | None = None) -> None:
        key = None if api_key_file is None else read_api_key(api_key_file)
        self._connection = Connection(url or local_server_url(), key)
        self.location = self._connection.location

    def is_running(self) -> bool:
        """Return whether a Millwright server answers at this address.

        Raises
        ------
        MillwrightError
            A server answers with an error: it is there, and must not be passed by.
        """
        try:
            self.require_server()
        except NoServerRunning:
            return False
        return True

    def require_server(self) -> None:
        """Raise NoServerRunning where no Millwright server answers at this address."""
        with _translate_errors():
            self._connection.require_server()

    def preview(self, records: Sequence[Record]) -> Preview:
        return cast("Preview", self.post("/train?dry_run=1", records))

    def train(self, body: object, path: str = "/train") -> TrainingEnd:
        """Train in the background and poll: a proxy may cut off a request that takes as long as a training.

        Raises
        ------
        MillwrightError
            The server refuses the training, or the session did not end well.
        """
        with _translate_errors():
            session = start_session(self._connection, path, body, show_progress=False).wait()
        return cast("TrainingEnd", {"success": True, **session.json})

    def get(self, path: str) -> JSON:
        """Return the JSON at a path.

        Raises
        ------
        MillwrightError
            The error that the server answered, or NoServerRunning where no server answers.
        """
        return self.request("GET", path)

    def post(self, path: str, document: object = None) -> JSON:
        """Return the answer to a POST; errors as in ``get``."""
        return self.request("POST", path, json=document)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> JSON:
        """Send a request and return the JSON of the answer; errors as in ``get``."""
        with _translate_errors():
            return self._connection.request(method, path, json=json, data=data, headers=headers)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise what the client of the API raises as an error of the commands."""
    from api.http.errors import error_from_dict

    try:
        yield
    except ServerUnreachableError as error:
        raise NoServerRunning(error.message) from error
    except ApiError as error:
        translated = error_from_dict(error.status, error.body)
        kind = _KINDS.get(error.code)
        raise (kind(error.message, **translated.facts) if kind else translated) from error


class LocalClient:
    """The training manager in this process. Locks keep it apart from running servers."""

    def __init__(self) -> None:
        from prediction.contract import ModelKey
        from training_manager import open_manager

        settings = load_local_settings()
        self.location = f"in this process ({settings.home})"
        self._manager = open_manager(settings)
        self._key = ModelKey("scoring")

    def preview(self, records: Sequence[Record]) -> Preview:
        return cast("Preview", self._manager.preview(self._key, records))

    def train(self, records: Sequence[Record]) -> TrainingEnd:
        from api.training.training_response import build_response

        outcome = self._manager.train(self._key, records)
        return cast("TrainingEnd", build_response(outcome, self._key, self._manager.data_health))

    def close(self) -> None:
        self._manager.close()


def open_client(url: str | None, api_key_file: Path | None, local: bool) -> TrainingClient:
    """Return the server at the URL, else the server of this installation, else this process.

    Raises
    ------
    NoServerRunning
        No server answers at the URL; or none was given, none runs here, and the home folder has no data.
    """
    if local:
        return LocalClient()
    server = ServerClient(url, api_key_file)
    if url:
        server.require_server()
        return server
    if server.is_running():
        return server
    settings = load_settings()
    if not has_data(settings):
        raise NoServerRunning(
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
