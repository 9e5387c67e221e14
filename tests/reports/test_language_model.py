"""A language model behind a small local server: it answers well, breaks the rules, hang, answers junk."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from errors import ConfigurationError
from reports.facts import SessionFacts
from reports.narrative import Endpoint, Narrative, write_by_rules, write_narrative
from reports.narrative.endpoint import MAX_ANSWER_BYTES
from reports.narrative.language_model import prompt_data
from reports.narrative.rules import RULES_AUTHOR
from settings import Settings, read_settings
from tests.reports import example_facts
from training.execution.run_task import TaskContext, write_report
from training.execution.tasks import ReportTask

USABLE = {
    "summary": "{model} was promoted: {model_value} beats {best_baseline} ({best_baseline_value}).",
    "dynamics": "The loss fell from {validation_loss_first} to {validation_loss_best}.",
    "next": ["Try a smaller network."],
}
VIEW = SessionFacts.from_dict(example_facts.good())
Handle = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class RequestLog:
    """The requests that the server got."""

    url: str
    bodies: list[Any] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)


@contextmanager
def server(answer: Handle) -> Iterator[RequestLog]:
    """Run a server on this machine that answers every POST with the handler."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            log.bodies.append((self.path, json.loads(body)))
            log.headers.append(dict(self.headers))
            self.server.released = released  # type: ignore[attr-defined]
            answer(self)

        def log_message(self, *arguments: Any) -> None:
            """Write nothing to the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        log = RequestLog(f"http://127.0.0.1:{listening.server_port}/v1")
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield log
        finally:
            released.set()
            listening.shutdown()


def respond(content: Any, status: int = 200, **headers: str) -> Handle:
    """Return a handler that answers with this body."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def chat_answer(words: Any) -> Handle:
    text = words if isinstance(words, str) else json.dumps(words)
    return respond({"choices": [{"message": {"role": "assistant", "content": text}}]})


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.released.wait(30)  # type: ignore[attr-defined]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send one byte now and then: no single read ever times out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.released.wait(0.05):  # type: ignore[attr-defined]
        handler.wfile.write(b" ")


def narrative_from(requests: RequestLog, **changes: Any) -> Narrative:
    fields = {"url": requests.url, "model": "local-1", "key": "very-secret", "timeout_seconds": 10.0}
    return write_narrative(VIEW, Endpoint(**{**fields, "allow_private": True, **changes}))


def test_a_text_with_placeholders_is_used_and_the_report_says_whose_it_is() -> None:
    with server(chat_answer(USABLE)) as requests:
        words = narrative_from(requests)
    assert words.summary == [
        "forecasting/pump-line-3 was promoted: 0.2113 mm/s beats last value (0.2934 mm/s)."
    ]
    assert words.dynamics == ["The loss fell from 1.004 to 0.3247."]
    assert words.steps == ["Try a smaller network."]
    assert words.author.startswith("Written by the language model local-1.")
    path, body = requests.bodies[0]
    assert (path, body["model"], body["temperature"]) == ("/v1/chat/completions", "local-1", 0)
    assert requests.headers[0]["Authorization"] == "Bearer very-secret"


def test_an_answer_in_a_code_fence_is_read() -> None:
    with server(chat_answer(f"```json\n{json.dumps(USABLE)}\n```")) as requests:
        assert narrative_from(requests).steps == ["Try a smaller network."]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"summary": "Its error is 0.0017 mm/s."}, "it wrote the number 0"),
        ({"dynamics": "It fell to {accuracy_best}."}, "it used the unknown placeholder {accuracy_best}"),
        ({"next": ["Visit http://evil.example"]}, "it wrote a link"),
    ],
)
def test_a_text_that_breaks_the_rules_is_dropped_and_the_report_says_why(part: Any, reason: str) -> None:
    with server(chat_answer({**USABLE, **part})) as requests:
        words = narrative_from(requests)
    plain = write_by_rules(VIEW)
    assert (words.summary, words.dynamics, words.steps) == (plain.summary, plain.dynamics, plain.steps)
    assert words.author.startswith(RULES_AUTHOR)
    assert reason in words.author


JUNK = [
    chat_answer("I would rather not."),
    chat_answer({"summary": 3, "dynamics": [], "next": "x"}),
    chat_answer({**USABLE, "next": []}),
    chat_answer({**USABLE, "summary": "a " * 5_000}),
    chat_answer("[" * 100_000),
    respond({"choices": []}),
    respond({"choices": [{"message": {"content": None}}]}),
    respond([1, 2]),
    respond(b"\xff\xfe\x00junk"),
    respond(b"[" * 100_000),
    respond({"error": "no"}, 500),
    respond(b"", 302, Location="http://169.254.169.254/"),
    respond(b"x" * (MAX_ANSWER_BYTES + 1)),
    lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n"),
    lambda handler: handler.connection.close(),
]


@pytest.mark.parametrize("answer", JUNK, ids=range(len(JUNK)))
def test_junk_gives_the_plain_text(answer: Handle) -> None:
    with server(answer) as requests:
        words = narrative_from(requests)
    assert words.summary == write_by_rules(VIEW).summary
    assert "its text was not used" in words.author
    assert len(requests.bodies) == 1, "it is asked once, and no redirect is followed"


@pytest.mark.parametrize("answer", [hang, drip])
def test_it_is_not_waited_for_longer_than_allowed(answer: Handle) -> None:
    with server(answer) as requests:
        words = narrative_from(requests, timeout_seconds=0.3)
    assert "it did not answer within 0.3 s" in words.author or "could not be asked" in words.author


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]"]
)
def test_private_addresses_are_not_asked_unless_that_is_allowed(host: str) -> None:
    with server(chat_answer(USABLE)) as requests:
        port = requests.url.split(":")[2].split("/")[0]
        words = narrative_from(requests, url=f"https://{host}:{port}/v1", allow_private=False)
    assert "its address is a private one" in words.author
    assert requests.bodies == []


def test_a_public_address_is_not_asked_without_encryption() -> None:
    words = narrative_from(RequestLog("http://8.8.8.8/v1"))
    assert "only asked over https" in words.author


def test_nobody_there() -> None:
    with server(chat_answer(USABLE)) as requests:
        pass
    assert "it could not be asked" in narrative_from(requests).author


def test_without_an_endpoint_rules_write() -> None:
    assert write_narrative(VIEW) == write_by_rules(VIEW)
    assert Settings().language_model_url == ""


def test_the_key_is_in_no_text() -> None:
    assert "very-secret" not in repr(Endpoint("https://x", "m", "very-secret"))
    assert "very-secret" not in repr(Settings(language_model_key="very-secret"))
    with server(respond({"error": "no"}, 401)) as requests:
        assert "very-secret" not in narrative_from(requests).author


@pytest.mark.parametrize(
    "url", ["ftp://x", "file:///etc/passwd", "http://", "https://u:p@x", "https://x?a=1", "x"]
)
def test_an_endpoint_that_cannot_be_used_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError):
        read_settings({"MILLWRIGHT_LANGUAGE_MODEL_URL": url})


def test_the_prompt_has_no_fingerprint_and_no_backup() -> None:
    data = json.dumps(prompt_data(VIEW, write_by_rules(VIEW)))
    assert VIEW.manifest["fingerprint"] not in data
    assert "model_backups" not in data
    assert len(data) < 20_000


def test_the_report_of_a_session_asks_the_endpoint_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with server(chat_answer(USABLE)) as requests:
        settings = Settings(
            home=tmp_path,
            language_model_url=requests.url,
            language_model="local-1",
            language_model_allow_private=True,
        )
        task = ReportTask(example_facts.good(), "report")
        write_report(task, TaskContext.from_settings(settings))
    assert "Try a smaller network." in (tmp_path / "report" / "report.html").read_text()
