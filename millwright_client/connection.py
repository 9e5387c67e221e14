"""Requests to one server: JSON in and out, errors as exceptions, retries only where they are safe."""

from __future__ import annotations

import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import requests

from millwright_client.errors import (
    NOT_READY,
    TOO_LARGE,
    UNREACHABLE,
    Answer,
    ApiError,
    NotReadyError,
    RefusedError,
    ServerUnreachableError,
    api_error,
)

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 3.0
ANSWER_TIMEOUT_SECONDS = 600.0
# A server that restarts in the middle of a training is back within this time, and the session with it.
RESTART_SECONDS = 60.0
RETRY_SECONDS = 0.5
_TOO_LARGE, _SERVER_ERROR = 413, 500
_INVALID_URLS = (
    requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema,
)  # fmt: skip
# A request that ends with one of these may succeed a moment later.
_PASSING_CODES = (UNREACHABLE, NOT_READY, "idempotency_key_in_use")

Query = Mapping[str, object]
Part = tuple[str | None, str | bytes]
"""A part of a form: the name of a file or None, and the content."""


class Connection:
    """A server's address with the API key for it.

    Parameters
    ----------
    url : str
        Such as ``http://127.0.0.1:5000``.
    api_key : str, optional
        Such as ``mw_…``; a server on the same machine may need none.
    ca_file : str or Path, optional
        Certificates (PEM) of the authority that signed the server's, where it is the plant's own.

    Raises
    ------
    ValueError
        The key cannot be one, or the file has no certificates.
    """

    def __init__(self, url: str, api_key: str | None = None, ca_file: str | Path | None = None) -> None:
        self.location = url.rstrip("/")
        if ca_file is not None:
            _check_certificates(ca_file)
        if api_key and not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("The API key is not one: it has spaces, line breaks or letters that no key has")
        # Given with each request: a setting of the session yields to REQUESTS_CA_BUNDLE.
        self._verify = True if ca_file is None else str(ca_file)
        self._session = requests.Session()
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def close(self) -> None:
        """Release the connections."""
        self._session.close()

    def require_server(self) -> None:
        """Raise ServerUnreachableError where no Millwright server answers at this address."""
        if self.get("/health/live").get("status") != "ok":
            raise self._foreign_answer(requests.codes.ok)

    def get(self, path: str, query: Query | None = None) -> Answer:
        """Return the JSON at a path; errors as in ``request``."""
        return self.request("GET", path, query=query)

    def post(self, path: str, document: object = None, query: Query | None = None) -> Answer:
        """Return the answer to a POST, which is sent once; errors as in ``request``."""
        return self.request("POST", path, json=document, query=query)

    def change(self, path: str, document: object = None, *, respond_async: bool = False) -> Answer:
        """Return the answer to a POST that changes something, and that the server carries out once.

        It is sent with an ``Idempotency-Key``: where a proxy or a restart swallows the answer, it is sent again
        and gets the answer of the first time.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if respond_async:
            # A proxy may cut off a request that takes as long as a training.
            headers["Prefer"] = "respond-async"
        return self.insist(lambda: self.request("POST", path, json=document, headers=headers))

    def insist(self, send: Callable[[], T]) -> T:
        """Return an answer of the server itself, although a proxy or a restart comes between for a while."""
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return send()
            except ApiError as error:
                if error.code not in _PASSING_CODES or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_SECONDS)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: bytes | None = None,
        files: Mapping[str, Part] | None = None,
    ) -> Answer:
        """Send a request and return the JSON object of the answer.

        Raises
        ------
        ApiError
            The error that the server answered; ServerUnreachableError where no server answers.
        """
        with self._translate_errors():
            response = self._session.request(
                method,
                self.location + path,
                params=_encode_query(query),
                headers=headers,
                json=json,
                data=data,
                files=files,
                timeout=(CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS),
                verify=self._verify,
            )
        body = _decode(response)
        if body is None or not response.ok:
            raise self._error(response.status_code, body)
        return body

    def stream(self, path: str, last_event_id: str = "") -> Iterator[str]:
        """Yield the lines of an event stream as they arrive; it is opened again while a server restarts.

        Raises
        ------
        ApiError
            The stream is refused, or breaks off.
        """
        headers = {
            "Accept": "text/event-stream",
            **({"Last-Event-ID": last_event_id} if last_event_id else {}),
        }
        response = self.insist(lambda: self._open_stream(path, headers))
        with closing(response), self._translate_errors():
            # Lines are split as bytes: as text they would also end at U+2028, which JSON has unescaped.
            for line in response.iter_lines(chunk_size=1):
                yield line.decode()

    def _open_stream(self, path: str, headers: Mapping[str, str]) -> requests.Response:
        timeout = (CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS)
        with self._translate_errors():
            response = self._session.get(
                self.location + path, headers=headers, stream=True, timeout=timeout, verify=self._verify
            )
            if response.ok:
                return response
            with closing(response):
                raise self._error(response.status_code, _decode(response))

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise what requests raises as one sentence that says what went wrong."""
        try:
            yield
        except _INVALID_URLS as error:
            raise ServerUnreachableError(
                f"{self.location} is not a valid URL: one such as http://127.0.0.1:5000 is expected"
            ) from error
        except requests.exceptions.InvalidJSONError as error:
            message = (
                "Nothing was sent, because JSON has no NaN and no infinity: send null, or leave the value out"
            )
            raise RefusedError(requests.codes.bad_request, {"error": message, "code": "malformed"}) from error
        except requests.exceptions.SSLError as error:
            raise ServerUnreachableError(_describe_tls_error(self.location, error)) from error
        except requests.ReadTimeout as error:
            message = f"{self.location} has not answered within {ANSWER_TIMEOUT_SECONDS:g} seconds"
            raise NotReadyError(
                requests.codes.gateway_timeout, {"error": message, "code": NOT_READY}
            ) from error
        except requests.ConnectionError as error:
            raise ServerUnreachableError(f"No server answers at {self.location}: is it running?") from error
        except OSError as error:  # RequestException is one; a missing REQUESTS_CA_BUNDLE is another
            raise ServerUnreachableError(f"The request to {self.location} failed: {error}") from error

    def _error(self, status: int, body: Answer | None) -> ApiError:
        """Return the error for an answer that is no success."""
        if body and {"error", "code"} <= body.keys():
            return api_error(status, body)
        return self._foreign_answer(status)

    def _foreign_answer(self, status: int) -> ApiError:
        """Return the error for an answer that is not Millwright's: a proxy's, or another program's."""
        if status == _TOO_LARGE:
            message = (
                f"A proxy in front of {self.location} refuses bodies of this size (413): raise its limit (nginx: "
                "client_max_body_size), or give the server's own address"
            )
            return RefusedError(status, {"error": message, "code": TOO_LARGE})
        if status >= _SERVER_ERROR:
            message = f"A proxy in front of {self.location} answered {status}: the server may still be busy"
            return NotReadyError(status, {"error": message, "code": NOT_READY})
        return ServerUnreachableError(f"What answers at {self.location} is not a Millwright server")


def _encode_query(query: Query | None) -> dict[str, str] | None:
    """Return query parameters as text: switches are 1 and 0, what is None is left out."""
    if query is None:
        return None
    return {
        name: str(int(value)) if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _decode(response: requests.Response) -> Answer | None:
    """Return the JSON object of an answer; None where it has none."""
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _describe_tls_error(location: str, error: requests.exceptions.SSLError) -> str:
    problem = re.search(r"certificate verify failed: (.*?) \(_ssl", str(error))
    if problem is None:
        return f"{location} does not answer with TLS: does its address begin with http://?"
    return (
        f"The certificate of {location} is not trusted ({problem[1]}): name the certificates of its authority in "
        "ca_file, or in the variable REQUESTS_CA_BUNDLE"
    )


def _check_certificates(file: str | Path) -> None:
    """Raise ValueError where a file has no certificates: requests would blame the server's."""
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"ca_file {file} has no certificates that can be read: {error}") from error
