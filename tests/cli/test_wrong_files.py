"""Files that are no table: each command says the same of the same file, with the same exit code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.cli.runner import run_json

COMMANDS = (
    ("import", "readings"),
    ("import", "telemetry"),
    ("train", "incremental", "--local", "--file"),
)


def workbook() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("xl/workbook.xml", "<workbook/>" * 50)
    return file.getvalue()


FILES = {
    "old_french.csv": (
        "sensor_id;raw_value;timestamp;unité\n13;1;2020-01-01;°C\n".encode("cp1252"),
        "is not UTF-8",
    ),
    "late.csv": (b"sensor_id;raw_value\n" + b"13;1\n" * 9_000 + "é;1\n".encode("cp1252"), "is not UTF-8"),
    "workbook.csv": (workbook(), "is an Excel workbook or another zip"),
    "workbook.xlsx": (workbook(), "cannot be read as a workbook"),
    "unicode.csv": ("sensor_id;raw_value\n13;1\n".encode("utf-16"), "is UTF-16"),
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"sensor_id;raw_value;timestamp;device_id\n", "is empty"),
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", FILES)
def test_a_file_without_records_is_named_for_what_it_is(
    tmp_path: Path, command: tuple[str, ...], name: str
) -> None:
    file = tmp_path / name
    content, reason = FILES[name]
    file.write_bytes(content)
    error = run_json(*command, file, home=tmp_path / "home", code=6)["error"]
    message = error if isinstance(error, str) else error["error"]
    assert reason in message
    assert ("CSV UTF-8" in message) is (not reason.startswith(("is empty", "cannot")))
