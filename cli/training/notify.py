"""Report the result of a run: to a command or URL, and on the terminal."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import typer

from cli.console import echo, echo_json
from cli.training.incremental import RunResult

TIMEOUT_SECONDS = 60


@dataclass
class ResultNotifier:
    """Reports results of runs.

    A run that repeats itself (``quiet``) reports an error when it begins, when it changes and when it is
    over, and leaves out runs that had nothing to do: a failing source would otherwise call somebody every
    ten seconds.
    """

    on_success: str
    on_failure: str
    as_json: bool
    quiet: bool
    _last_error: str = ""

    def notify(self, result: RunResult) -> None:
        """Send the result to the hook, then write it to the terminal."""
        error = json.dumps(result.error.body(), sort_keys=True, default=str) if result.error else ""
        recovered = bool(self._last_error) and not error
        repeated = self.quiet and error == self._last_error and not recovered
        self._last_error = error
        idle = result.outcome == "nothing_to_do"
        if repeated and (error or idle):
            return
        document = result.to_dict()
        if recovered:
            document["recovered"] = True
            self._send(self.on_failure, document)
        if error or not idle:
            # A training that was not promoted changed nothing that serves: somebody has to look at it.
            self._send(self.on_success if result.outcome == "trained" else self.on_failure, document)
        if self.as_json:
            echo_json(document)
        else:
            _echo_result(result)

    def _send(self, hook: str, document: dict[str, object]) -> None:
        if hook and (problem := send(hook, document)):
            document["hook_error"] = problem
            typer.echo(f"Warning: the hook failed: {problem}", err=True)


def send(target: str, result: Mapping[str, object]) -> str | None:
    """Send a result as JSON to a command's standard input or to a URL; return what went wrong, or None."""
    body = json.dumps(result, ensure_ascii=False, default=str).encode()
    try:
        return _post(target, body) if target.startswith(("http://", "https://")) else _run(target, body)
    except (OSError, ValueError) as error:
        return f"{target}: {error}"


def _post(url: str, body: bytes) -> str | None:
    import requests

    headers = {"Content-Type": "application/json"}
    try:
        response = requests.post(url, data=body, headers=headers, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        return f"{url}: {error}"
    return None if response.ok else f"{url} answered {response.status_code}"


def _run(command: str, body: bytes) -> str | None:
    try:
        process = subprocess.run(shlex.split(command), input=body, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{command}: not finished after {TIMEOUT_SECONDS} s"
    return None if process.returncode == 0 else f"{command} ended with {process.returncode}"


def _echo_result(result: RunResult) -> None:
    for sentence in result.left_out:
        echo(f"Left out: {sentence}")
    for warning in result.warnings:
        echo(f"Warning: {warning}")
    if result.error is None:
        echo(f"{result.records_read} records read, {result.records_new} of them new ({result.location})")
    for session in result.sessions:
        echo(f"Session {session['training_session_id']}: {session['message']}")
        for reason in () if session.get("promoted") else session.get("reasons", ()):
            echo(f"  {reason}")
    if result.error is not None:
        echo(f"Failed: {result.error.message}")
        for sentence in result.error.facts.get("validation_errors", ()):
            echo(f"  {sentence}")
    if result.outcome == "nothing_to_do":
        echo("Not enough for a training yet.")
