"""Telling somebody how a command ended: a program that reads JSON from its standard input, or a URL."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

TIMEOUT_SECONDS = 60


def notify(target: str, result: dict[str, Any]) -> str | None:
    """Hand the result to a command or a URL; what went wrong, in words, or None."""
    body = json.dumps(result, ensure_ascii=False, default=str).encode()
    try:
        if target.startswith(("http://", "https://")):
            return _posted(target, body)
        return _run(target, body)
    except (OSError, ValueError) as error:
        return f"{target}: {error}"


def _posted(url: str, body: bytes) -> str | None:
    import requests

    headers = {"Content-Type": "application/json"}
    try:
        answer = requests.post(url, data=body, headers=headers, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        return f"{url}: {error}"
    return None if answer.ok else f"{url} answered {answer.status_code}"


def _run(command: str, body: bytes) -> str | None:
    try:
        ended = subprocess.run(shlex.split(command), input=body, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{command}: no end after {TIMEOUT_SECONDS} s"
    return None if ended.returncode == 0 else f"{command} ended with {ended.returncode}"
