"""Run the server's benchmarks and the poisonings, one after the other: ``python -m benchmarks --data FOLDER``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.server.workload import generate_history

ON_A_PLANT = ("startup", "train_latency", "predict_latency")
GENERATED_REPORTS = 5_000


def main() -> int:
    """Run them in processes of their own; without --data on an invented plant."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, help="folder with a plant's three CSV files")
    asked = command.parse_args()
    with tempfile.TemporaryDirectory() as invented:
        data = asked.data or Path(invented)
        if asked.data is None:
            generate_history(data, GENERATED_REPORTS)
        runs = [[f"server.{name}", "--data", str(data)] for name in ON_A_PLANT]
        runs += [["server.train_history"], ["scoring.poisoning", "--data", str(data), "--cuts", "4400"]]
        ended = [
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *rest], check=False).returncode
            for name, *rest in runs
        ]
    return max(ended)


if __name__ == "__main__":
    sys.exit(main())
