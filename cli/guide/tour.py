"""``millwright demo tour``: a walk through the API, as your own script could do it.

It adds five invented reports, different ones at every run, asks for predictions, and removes them again.
"""

from __future__ import annotations

import json
from typing import Any

import typer

from cli.client import ServerClient
from cli.console import ApiKeyOption, UrlOption
from demo.anomaly_reports import random_records

MAX_LINES = 40


def tour_server(*, url: UrlOption = None, api_key_file: ApiKeyOption = None) -> None:
    """Walk through the API of a running server and show every answer."""
    server = ServerClient(url, api_key_file)
    reports = random_records(5)
    question = {name: reports[0][name] for name in ("description", "equipment_name", "equipment_id")}

    def show(title: str, method: str, path: str, body: object = None) -> Any:
        answer = server.request(method, path, json=body)
        lines = json.dumps(answer, indent=2, ensure_ascii=False).splitlines()
        more = [f"… {len(lines) - MAX_LINES} more lines"] if len(lines) > MAX_LINES else []
        typer.echo("\n".join([f"\n# {title}", f"{method} {path}", *lines[:MAX_LINES], *more]))
        return answer

    show("Is the server ready, and with which models?", "GET", "/health/ready")
    show("What would a training with these reports do?", "POST", "/train?dry_run=1", reports)
    session = show("Train on five scored reports", "POST", "/train", reports)["training_session_id"]
    show("How is training going?", "GET", "/train/status")
    show("Score a new report", "POST", "/predict?similar_reports=2", question)
    show("What did that session do?", "GET", f"/train/sessions/{session}")
    show("Which versions are there?", "GET", "/models/scoring/default/versions")
    show("Which backups are there?", "GET", "/train/backups")
    show("Statistics of all trainings", "GET", "/train/statistics")
    show("Remove the five reports again", "POST", f"/train/undo/{session}")
    show("Reload the models in every worker", "POST", "/train/reload")
