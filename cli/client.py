"""Two ways to the training manager: through a running server, or in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from cli.console import load_settings
from errors import MillwrightError, NotReady

JSON = dict[str, Any]
CONNECT_TIMEOUT_SECONDS = 3.0
# A training is answered when it has ended.
ANSWER_TIMEOUT_SECONDS = 3600.0


class TrainingClient(Protocol):
    """What commands need in order to train the scoring model."""

    location: str

    def preview(self, records: list[JSON]) -> JSON:
        """Return what a training with these records would do."""

    def train(self, records: list[JSON]) -> JSON:
        """Train, and return the result when the training has ended."""

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
            api_key = api_key_file.read_text(encoding="utf-8").strip()
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def is_running(self) -> bool:
        """Return whether a Millwright server answers at this address."""
        try:
            return self.get("/health/live").get("success", True) is not False
        except MillwrightError:
            return False

    def preview(self, records: list[JSON]) -> JSON:
        return self.post("/train?dry_run=1", records)

    def train(self, records: list[JSON]) -> JSON:
        return self.post("/train", records)

    def get(self, path: str) -> JSON:
        """Return the JSON at a path.

        Raises
        ------
        MillwrightError
            The error that the server answered, or NotReady where no server answers.
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
            raise NotReady(f"{self.location} is not a valid URL") from error
        except requests.exceptions.JSONDecodeError as error:
            raise NotReady(f"What answers at {self.location} is not a Millwright server") from error
        except requests.RequestException as error:
            raise NotReady(f"No server answers at {self.location}: is it running?") from error
        if not response.ok:
            raise error_from_dict(response.status_code, body)
        return dict(body)

    def close(self) -> None:
        self._session.close()


class LocalClient:
    """The training manager in this process. Locks keep it apart from running servers."""

    location = "in this process"

    def __init__(self) -> None:
        from prediction.contract import ModelKey
        from training_manager import open_manager

        self._manager = open_manager(load_settings())
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
    NotReady
        A URL was given, and no server answers there.
    """
    if local:
        return LocalClient()
    server = ServerClient(url, api_key_file)
    if url:
        server.get("/health/live")
        return server
    return server if server.is_running() else LocalClient()


def local_server_url() -> str:
    """Return the address at which the server of this installation listens."""
    settings = load_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"
