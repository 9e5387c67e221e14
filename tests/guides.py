"""A page of docs/ as a first-time user walks it: its commands, run in order against a server of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from settings import PROJECT
from tests.live_server import live_server

SERVER = "http://127.0.0.1:5000"


class Guide:
    """One page."""

    def __init__(self, name: str) -> None:
        self.text = (PROJECT / "docs" / name).read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """Return what stands in the fences of one language."""
        return re.findall(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def walked(self, folder: Path) -> str:
        """Run every ``sh`` block in one shell in a folder; what it printed."""
        with live_server(folder / "home", sentence_model="none", demo_data=0) as address:
            typed = "\n".join(self.blocks("sh")).replace(SERVER, address).replace("python3", sys.executable)
            typed = typed.replace("millwright demo", f"{sys.executable} -m cli demo")
            ran = subprocess.run(
                ["bash", "-c", f"set -euo pipefail\n{typed}"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def options(self) -> set[str]:
        """Return the names in the first column of the tables under "Training"."""
        part = self.text.partition("## Training")[2].partition("## Prediction")[0]
        cells = (line.split("|")[1] for line in part.splitlines() if line.startswith("|"))
        return set(re.findall(r"`(\w+)`", "".join(cells)))
