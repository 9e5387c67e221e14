"""Commands that work on a home folder work on the plant's, and on no other one by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import Settings
from tests.cli.runner import invoke

COMMANDS = {
    "train incremental": ("train", "incremental", "--local", "--file", "records.csv"),
    "train sensors": ("train", "sensors"),
    "schedule sensors": ("schedule", "sensors", "--run-once"),
    "schedule models": ("schedule", "models", "--run-once"),
    "import readings": ("import", "readings", "records.csv"),
    "import telemetry": ("import", "telemetry", "records.csv"),
    "keys create": ("keys", "create", "--role", "admin"),
    "backups create": ("backups", "create"),
    "backups database": ("backups", "database"),
    "reports": ("reports", "1"),
    "features": ("features",),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_cron_line_without_the_home_of_the_service_starts_no_second_plant(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    monkeypatch.setattr("cli.console.PROJECT", project)
    monkeypatch.setattr("cli.console.load_settings", lambda: Settings(home=project))
    monkeypatch.chdir(tmp_path)
    Path("records.csv").write_text("device_id,timestamp,temperature\nP-1,2026-01-05T14:30:22Z,5\n")
    result = invoke(*command, "--json")
    assert result.exit_code == 2
    assert "set it to the folder with the plant's data" in result.stdout
    assert not project.exists()
