"""``millwright predict``: ask a model of a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.client import ServerClient
from cli.console import (
    ApiKeyOption,
    CommandGroup,
    DateOrderOption,
    JSONFlag,
    SheetOption,
    UrlOption,
    echo_json,
    echo_table,
)
from cli.imports.record_files import read_records
from cli.training.sources import read_reports

app = CommandGroup("Ask a model for predictions.")


@app.command()
def predict(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Records as CSV, JSON, XLSX …")],
    *,
    family: Annotated[str, typer.Option(help="Family of the model.")] = "scoring",
    name: Annotated[str, typer.Option(help="Name of the model.")] = "default",
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Predict for each record of a file, with the promoted version of a model."""
    # Reports may have the French headers of the plant's files, which JSON bodies of the API do not accept.
    read = read_reports if family == "scoring" else read_records
    records = read(file, date_order, sheet)
    answer = ServerClient(url, api_key_file).post(f"/predict/{family}/{name}", records)
    if as_json:
        echo_json(answer)
        return
    rows = [{key: str(value) for key, value in row.items()} for row in answer["predictions"]]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    echo_table(columns, [[row.get(column) for column in columns] for row in rows])
