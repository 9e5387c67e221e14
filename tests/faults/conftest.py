"""Plants for the fault tests, each a copy of one that has trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.anomaly_reports import install_demo_reports
from storage.anomaly_reports.csv_store import FILES
from tests.faults.plant import Plant, batch, copies

ROWS = 120


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home folder with a short history, a champion, and one backup of the time before session 2."""
    home = tmp_path_factory.mktemp("template")
    (home / "data").mkdir()
    install_demo_reports(home / "data")
    for name in FILES.values():
        file = home / "data" / name
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[: ROWS + 1]))
    plant = Plant(home)
    plant.start()
    try:
        answer = plant.post("/train", batch("template"))
        assert answer.status_code == 200, answer.text
        assert plant.stop() == 0
    finally:
        plant.kill()
    return home


@pytest.fixture
def plant(template: Path, tmp_path: Path) -> Iterator[Plant]:
    """Return a plant whose server is not running yet."""
    yield from copies(template, tmp_path)
