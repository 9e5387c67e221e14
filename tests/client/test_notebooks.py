"""The notebooks of docs/notebooks run as they are, cell after cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millwright_client import Millwright
from settings import PROJECT

SERVER = "http://127.0.0.1:5000"
NOTEBOOKS = sorted((PROJECT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(client: Millwright, file: Path) -> None:
    cells = [cell for cell in json.loads(file.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    names: dict[str, object] = {}
    assert any(SERVER in line for cell in cells for line in cell["source"])
    for number, cell in enumerate(cells, 1):
        code = "".join(cell["source"]).replace(SERVER, client.connection.location)
        exec(compile(code, f"{file.name}, code cell {number}", "exec"), names)


def test_there_are_notebooks() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["score_and_train", "sensor_fleet"]
