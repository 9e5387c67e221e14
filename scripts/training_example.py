"""A walk through the API against a running server, as a script of yours could do it.

Start a server (``make run``), then ``.venv/bin/python scripts/training_example.py``. It adds five
invented reports, other ones at every run, asks for predictions, and takes the reports out again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.client import local_server_url
from demo.anomaly_reports import random_records

UrlOption = Annotated[
    str | None, typer.Option(help="Address of the server; default: the one that runs here.")
]
KeyOption = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="File with an API key.")]


class Walk:
    """Asks a server and shows every question with its answer."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()
        if api_key:
            self.session.headers["Authorization"] = f"Bearer {api_key}"

    def get(self, about: str, path: str) -> Any:
        """Ask and show."""
        return self._asked(about, "GET", path)

    def post(self, about: str, path: str, body: Any = None) -> Any:
        """Send, and show what comes back."""
        return self._asked(about, "POST", path, json=body)

    def _asked(self, about: str, method: str, path: str, **how: Any) -> Any:
        answer = self.session.request(method, self.url + path, timeout=600, **how)
        print(f"\n# {about}\n{method} {path} → {answer.status_code}")
        print(_shortened(answer.json()))
        answer.raise_for_status()
        return answer.json()


def walk(server: Walk) -> None:
    """The guide's steps in their order."""
    reports = random_records(5)
    question = {name: reports[0][name] for name in ("description", "equipment_name", "equipment_id")}
    server.get("Is the server ready, and with which models?", "/health/ready")
    server.post("What would a training with these reports do?", "/train?dry_run=1", reports)
    session = server.post("Train on five scored reports", "/train", reports)["training_session_id"]
    server.get("How is training going?", "/train/status")
    server.post("Score a new report", "/predict?evidence=2", question)
    server.get("What did that session do?", f"/train/sessions/{session}")
    server.get("Which versions are there?", "/models/scoring/default/versions")
    server.get("Which backups are there?", "/train/backups")
    server.get("Statistics of all trainings", "/train/statistics")
    server.post("Take the five reports out again", f"/train/undo/{session}")
    server.post("Load the models afresh in every worker", "/train/reload")


def main(*, url: UrlOption = None, api_key_file: KeyOption = None) -> None:
    """Walk through the API against a running server."""
    address = url or local_server_url()
    try:
        walk(Walk(address, api_key_file.read_text().strip() if api_key_file else None))
    except requests.ConnectionError:
        typer.echo(f"No server answers at {address}; start one with `make run`.", err=True)
        raise typer.Exit(9) from None
    except requests.HTTPError as error:
        typer.echo(f"\nStopped: {error}", err=True)
        raise typer.Exit(1) from None


def _shortened(answer: Any) -> str:
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    lines = text.splitlines()
    return text if len(lines) <= 40 else "\n".join([*lines[:40], f"… {len(lines) - 40} more lines"])


if __name__ == "__main__":
    typer.run(main)
