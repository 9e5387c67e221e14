"""Fills what exists with believable data, so that every page and every list has something to show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.client import ServerClient, local_server_url
from cli.console import say, settings_here, told
from demo.anomaly_reports import demo_records, install_demo_reports

UrlOption = Annotated[
    str | None, typer.Option(help="Address of the server; default: the one that runs here.")
]
KeyOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="File with an API key (role train).")
]
ROUNDS, REPORTS_A_ROUND = 3, 12


def main(*, url: UrlOption = None, api_key_file: KeyOption = None) -> None:
    """Fill a running server with trainings and predictions, or an empty data folder with demo data."""
    with told(as_json=False):
        api_key = api_key_file.read_text().strip() if api_key_file else None
        server = ServerClient(url or local_server_url(), api_key)
        if url or server.answers():
            fill(server)
            return
        folder = settings_here().data_dir
        installed = install_demo_reports(folder)
        say(f"Demo data put into {folder}" if installed else f"{folder} already holds data; nothing changed")
        say("No server is running here: start one with `make run`, then `make demo` fills it.")


def fill(server: ServerClient) -> None:
    """A few trainings on fresh reports, a backup that is kept, and predictions."""
    for number in range(1, ROUNDS + 1):
        session = server.post("/train", demo_records(REPORTS_A_ROUND, seed=100 + number))
        say(f"Training {number} of {ROUNDS}: {session['message']}")
    server.post("/train/backups", {"reason": "demo", "retain": True})
    asked = [{**report, "anomaly_id": ""} for report in demo_records(20, seed=200)]
    server.post("/predict", asked)
    say(f"{len(asked)} reports scored. Look around: {server.where}/docs and {server.where}/train/status")


if __name__ == "__main__":
    typer.run(main)
