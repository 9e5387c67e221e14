"""``millwright demo``: create demo data, and try a server out."""

from __future__ import annotations

import io
import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.client import ServerClient
from cli.console import ApiKeyOption, CommandGroup, UrlOption, echo, load_settings
from cli.guide.checks import check_server
from cli.guide.tour import tour_server
from storage.filesystem.checked_write import write_checked

app = CommandGroup("Create demo data, and try a server out.")
app.command("tour")(tour_server)
app.command("check")(check_server)

NUM_TRAININGS, REPORTS_PER_TRAINING = 3, 12

SeriesKind = StrEnum("SeriesKind", ["transformer", "degradation"])


@app.command()
def fill(*, url: UrlOption = None, api_key_file: ApiKeyOption = None) -> None:
    """Fill a running server with trainings and predictions, or an empty data folder with demo data."""
    from demo.anomaly_reports import demo_records, install_demo_reports

    server = ServerClient(url, api_key_file)
    if not (url or server.is_running()):
        folder = load_settings().data_dir
        installed = install_demo_reports(folder)
        echo(f"Demo data written to {folder}" if installed else f"{folder} already has data; nothing changed")
        echo("No server is running here: start one with `make run`, then `make demo` fills it.")
        return
    for number in range(1, NUM_TRAININGS + 1):
        answer = server.train(demo_records(REPORTS_PER_TRAINING, seed=100 + number))
        echo(f"Training {number} of {NUM_TRAININGS}: {answer['message']}")
    server.post("/train/backups", {"reason": "demo", "retain": True})
    questions = [{**report, "anomaly_id": ""} for report in demo_records(20, seed=200)]
    server.post("/predict", questions)
    pages = f"{server.location}/docs and {server.location}/train/status"
    echo(f"{len(questions)} reports scored. Look around: {pages}")


@app.command()
def reports(
    folder: Annotated[Path, typer.Argument(help="Folder that receives the three CSV files.")],
) -> None:
    """Write the demo plant's anomaly reports as CSV files."""
    from demo.anomaly_reports import NUM_REPORTS, write_csv

    write_csv(folder)
    echo(f"{NUM_REPORTS} reports written to {folder}")


@app.command()
def series(
    kind: Annotated[SeriesKind, typer.Argument(help="What the series is about.")],
    file: Annotated[Path, typer.Argument(help="CSV file to write.")],
    rows: Annotated[int, typer.Option(min=1, help="Hours to write.")] = 3_000,
) -> None:
    """Write a demo time series as a CSV file: a transformer's oil temperature, or a pump that wears out."""
    from demo.series import csv_text

    write_checked(file, csv_text(kind.value, rows).encode())
    echo(f"{rows} rows of a {kind.value} series written to {file}")


@app.command()
def recordings(
    file: Annotated[Path, typer.Argument(help="Zip file to write.")],
    *,
    specimens: Annotated[int, typer.Option(min=1, help="Machines per class.")] = 6,
    recordings_per_specimen: Annotated[
        int, typer.Option("--recordings", min=1, help="Recordings per machine.")
    ] = 2,
    duration_seconds: Annotated[
        float, typer.Option("--seconds", min=0.01, help="Length of a recording.")
    ] = 1.0,
) -> None:
    """Write vibration recordings of healthy and damaged bearings as a zip of WAV files."""
    from demo.recordings import generate_files

    count = 0
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in generate_files(specimens, recordings_per_specimen, duration_seconds):
            # A ZipInfo without a date of its own makes the archive the same at every run.
            archive.writestr(zipfile.ZipInfo(name), content)
            count += 1
    write_checked(file, packed.getbuffer())
    echo(f"{count} recordings written to {file}")
