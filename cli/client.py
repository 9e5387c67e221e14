"""Two ways to the training manager: through a running server, or in this process where none runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from api.http.errors import error_from_dict
from api.training.training_response import build_response
from cli.console import settings_here
from errors import MillwrightError, NotReady
from prediction.contract import ModelKey
from training_manager import open_manager

JSON = dict[str, Any]
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 3600.0


class TrainingClient(Protocol):
    """Where records are handed in."""

    where: str

    def preview(self, records: list[JSON]) -> JSON:
        """What a training with these records would do."""

    def train(self, records: list[JSON]) -> JSON:
        """Train and wait for the end."""

    def close(self) -> None:
        """Let go of whatever the desk holds."""


class ServerClient:
    """A running server.

    Parameters
    ----------
    url : str
        Its address, such as ``http://127.0.0.1:5000``.
    api_key : str, optional
        A key with the role ``train``.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        import requests

        self.where = url.rstrip("/")
        self._session = requests.Session()
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def answers(self) -> bool:
        """Whether a Millwright server lives at this address."""
        try:
            return self.get("/health/live").get("success", True) is not False
        except MillwrightError:
            return False

    def preview(self, records: list[JSON]) -> JSON:
        return self.post("/train?dry_run=1", records)

    def train(self, records: list[JSON]) -> JSON:
        return self.post("/train", records)

    def get(self, path: str) -> JSON:
        """The JSON at a path.

        Raises
        ------
        MillwrightError
            What the server answered, or NotReady where none answers.
        """
        return self._asked("GET", path)

    def post(self, path: str, document: Any = None) -> JSON:
        """The JSON that a POST is answered with; errors as in ``get``."""
        return self._asked("POST", path, json=document)

    def delete(self, path: str) -> JSON:
        """The JSON that a DELETE is answered with; errors as in ``get``."""
        return self._asked("DELETE", path)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _asked(self, method: str, path: str, **how: Any) -> JSON:
        import requests

        try:
            timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
            answer = self._session.request(method, self.where + path, timeout=timeout, **how)
            body = answer.json()
        except requests.exceptions.InvalidURL as error:
            raise NotReady(f"{self.where} is no address") from error
        except requests.exceptions.JSONDecodeError as error:
            raise NotReady(f"What answers at {self.where} is no Millwright server") from error
        except requests.RequestException as error:
            raise NotReady(f"No server answers at {self.where}: is it running?") from error
        if not answer.ok:
            raise error_from_dict(answer.status_code, body)
        return dict(body)


class LocalClient:
    """The training manager itself, over the folders of this installation. Locks keep servers apart."""

    where = "in this process"

    def __init__(self) -> None:
        self.manager = open_manager(settings_here())
        self._key = ModelKey("scoring")

    def preview(self, records: list[JSON]) -> JSON:
        return self.manager.preview(self._key, records)

    def train(self, records: list[JSON]) -> JSON:
        return build_response(self.manager.train(self._key, records), self._key)

    def close(self) -> None:
        """End the manager's child processes."""
        self.manager.close()


def open_client(url: str | None, api_key_file: Path | None, in_process: bool) -> TrainingClient:
    """The server that was named, else the one that runs here, else this process.

    Raises
    ------
    NotReady
        A server was named and does not answer.
    """
    if in_process:
        return LocalClient()
    api_key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else None
    server = ServerClient(url or local_server_url(), api_key)
    if url:
        server.get("/health/live")
        return server
    return server if server.answers() else LocalClient()


def local_server_url() -> str:
    """Where the server of this installation listens."""
    settings = settings_here()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"
