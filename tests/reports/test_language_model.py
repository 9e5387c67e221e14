"""A language model behind a small local server: it answers well, lies, hangs, answers junk."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from errors import ConfigurationError
from reports.narrative import language_model, rules
from reports.narrative.endpoint import MAX_ANSWER_BYTES, Endpoint
from reports.narrative.rules import RULES, Narrative
from settings import Settings, read_settings
from tests.reports import stories

TRUE = {
    "summary": "Version 7 was promoted: with 0.211 mm/s it beats last value (0.293 mm/s) on 1,742 samples.",
    "dynamics": "The validation loss fell from 1.004 to 0.325 in epoch 28.",
    "next": ["Try a smaller network."],
}
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Asked:
    """What the server was asked."""

    url: str
    bodies: list[Any] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)


@contextmanager
def server(answer: Answer) -> Iterator[Asked]:
    """A server on this machine that answers every POST as it is told."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.bodies.append((self.path, json.loads(body)))
            asked.headers.append(dict(self.headers))
            self.server.released = released  # type: ignore[attr-defined]
            answer(self)

        def log_message(self, *arguments: Any) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        asked = Asked(f"http://127.0.0.1:{listening.server_port}/v1")
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield asked
        finally:
            released.set()
            listening.shutdown()


def sends(content: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with this body."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def says(words: Any) -> Answer:
    text = words if isinstance(words, str) else json.dumps(words)
    return sends({"choices": [{"message": {"role": "assistant", "content": text}}]})


def hangs(handler: BaseHTTPRequestHandler) -> None:
    handler.server.released.wait(30)  # type: ignore[attr-defined]


def drips(handler: BaseHTTPRequestHandler) -> None:
    """One byte now and then: no single read ever times out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.released.wait(0.05):  # type: ignore[attr-defined]
        handler.wfile.write(b" ")


def asked_of(asked: Asked, **changes: Any) -> Narrative:
    told = {"url": asked.url, "model": "local-1", "key": "very-secret", "seconds": 10.0, "private": True}
    return language_model.written(stories.good(), Endpoint(**{**told, **changes}))


def test_a_true_text_is_used_and_the_report_says_whose_it_is() -> None:
    with server(says(TRUE)) as asked:
        words = asked_of(asked)
    assert (words.summary, words.dynamics, words.steps) == (
        [TRUE["summary"]],
        [TRUE["dynamics"]],
        TRUE["next"],
    )
    assert words.author.startswith("Written by the language model local-1.")
    path, body = asked.bodies[0]
    assert (path, body["model"], body["temperature"]) == ("/v1/chat/completions", "local-1", 0)
    assert asked.headers[0]["Authorization"] == "Bearer very-secret"


def test_an_answer_in_a_code_fence_is_read() -> None:
    with server(says(f"```json\n{json.dumps(TRUE)}\n```")) as asked:
        assert asked_of(asked).summary == [TRUE["summary"]]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"summary": "Its error is 0.0017 mm/s."}, "the number 0.0017 is not in the data"),
        ({"summary": "Version 7 was rejected."}, "is not what the data says"),
        ({"dynamics": "The validation loss rose from 0.325 to 1.004."}, "is not what the data says"),
        ({"next": ["Visit http://evil.example"]}, "it holds a link"),
        ({"summary": "It is three times better."}, "spelled out"),
    ],
)
def test_a_lie_is_dropped_and_the_report_says_so(lie: Any, reason: str) -> None:
    with server(says({**TRUE, **lie})) as asked:
        words = asked_of(asked)
    plain = rules.write_narrative(stories.good())
    assert (words.summary, words.dynamics, words.steps) == (plain.summary, plain.dynamics, plain.steps)
    assert words.author.startswith(RULES)
    assert reason in words.author


JUNK = [
    says("I would rather not."),
    says({"summary": 3, "dynamics": [], "next": "x"}),
    says({**TRUE, "next": []}),
    says({**TRUE, "summary": "a " * 5_000}),
    says("[" * 100_000),
    sends({"choices": []}),
    sends({"choices": [{"message": {"content": None}}]}),
    sends([1, 2]),
    sends(b"\xff\xfe\x00junk"),
    sends(b"[" * 100_000),
    sends({"error": "no"}, 500),
    sends(b"", 302, Location="http://169.254.169.254/"),
    sends(b"x" * (MAX_ANSWER_BYTES + 1)),
    lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n"),
    lambda handler: handler.connection.close(),
]


@pytest.mark.parametrize("answer", JUNK, ids=range(len(JUNK)))
def test_junk_gives_the_plain_text(answer: Answer) -> None:
    with server(answer) as asked:
        words = asked_of(asked)
    assert words.summary == rules.write_narrative(stories.good()).summary
    assert "its text was not used" in words.author
    assert len(asked.bodies) == 1, "it is asked once, and no redirect is followed"


@pytest.mark.parametrize("answer", [hangs, drips])
def test_it_is_not_waited_for_longer_than_allowed(answer: Answer) -> None:
    with server(answer) as asked:
        words = asked_of(asked, seconds=0.3)
    assert "it did not answer within 0.3 s" in words.author or "could not be asked" in words.author


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]"]
)
def test_private_addresses_are_not_asked_unless_that_is_allowed(host: str) -> None:
    with server(says(TRUE)) as asked:
        port = asked.url.split(":")[2].split("/")[0]
        words = asked_of(asked, url=f"https://{host}:{port}/v1", private=False)
    assert "its address is a private one" in words.author
    assert asked.bodies == []


def test_a_public_address_is_not_asked_without_encryption() -> None:
    words = asked_of(Asked("http://8.8.8.8/v1"))
    assert "only asked over https" in words.author


def test_nobody_there() -> None:
    with server(says(TRUE)) as asked:
        pass
    assert "it could not be asked" in asked_of(asked).author


def test_without_an_endpoint_rules_write() -> None:
    assert language_model.written(stories.good()) == rules.write_narrative(stories.good())
    assert Settings().language_model_url == ""


def test_the_key_is_in_no_text() -> None:
    assert "very-secret" not in repr(Endpoint("https://x", "m", "very-secret"))
    assert "very-secret" not in repr(Settings(language_model_key="very-secret"))
    with server(sends({"error": "no"}, 401)) as asked:
        assert "very-secret" not in asked_of(asked).author


@pytest.mark.parametrize(
    "url", ["ftp://x", "file:///etc/passwd", "http://", "https://u:p@x", "https://x?a=1", "x"]
)
def test_an_endpoint_that_cannot_be_used_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError):
        read_settings({"MILLWRIGHT_LANGUAGE_MODEL_URL": url})


def test_what_the_model_is_told_holds_no_records_and_no_fingerprint() -> None:
    facts = stories.good()
    data = json.dumps(language_model.prompt_data(facts, rules.write_narrative(facts)))
    assert facts["manifest"]["fingerprint"] not in data
    assert "model_backups" not in data
    assert len(data) < 20_000
