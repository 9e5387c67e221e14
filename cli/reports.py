"""``millwright reports``: write the report of a training session."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.console import CommandGroup, JSONFlag, TenantOption, echo_result, local_manager
from storage.filesystem.checked_write import write_checked

app = CommandGroup("Write the report of a training session.")


class ReportFormat(StrEnum):
    """File formats of a report."""

    PDF = "pdf"
    HTML = "html"


@app.command()
def write(
    session_id: Annotated[int, typer.Argument(help="The training_session_id of the training's answer.")],
    output: Annotated[Path | None, typer.Option(help="File to write; default: session-ID.FORMAT.")] = None,
    file_format: Annotated[ReportFormat, typer.Option("--format", help="File format.")] = ReportFormat.PDF,
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Write the report of an ended session to a file."""
    with local_manager() as manager:
        file = manager.reports.file(session_id, tenant, file_format)
        target = output or Path(f"session-{session_id}.{file_format}")
        write_checked(target, file.read_bytes())
    echo_result(as_json, f"Wrote {target}", path=str(target), size_bytes=target.stat().st_size)
