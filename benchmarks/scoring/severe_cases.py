"""Train on genuine weekly batches and count those that the safety ratchet holds back.

``python -m benchmarks.scoring.severe_cases --data FOLDER [--weeks 120]``

Before each week the champion is fitted on all earlier reports, the anchor on those that are 200 reports or 30 days
old, whichever is newer; the candidate learns the week. All three are saved and asked as a training does it. Every
week is genuine, so each one that is held back is held for nothing but a plant's change of mind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import write_results
from benchmarks.scoring.poisoning import Plant
from prediction.contract import SevereCase, TrainingSource
from prediction.scoring.serving.severe_reports import SevereReports, list_severe
from prediction.severe_cases import SaferAnswer, find_safer_answers, lock_cases
from storage.anomaly_reports.csv_store import CsvStore

ANCHOR_ROWS, ANCHOR_DAYS = 200, 30


class Weeks(SevereReports):
    """The reports of a plant up to a row, without the detour through CSV files."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    def list_cases(self, source: TrainingSource, chosen: Sequence[str] | None) -> list[SevereCase]:
        rows = np.arange(source["rows"])
        return list_severe(
            self.plant.rows(rows, self.plant.scores[rows], np.zeros(len(rows))).reports, chosen
        )

    def judge(self, start: int, end: int, anchor: int) -> tuple[int, list[SaferAnswer]]:
        """Return the number of locked reports, and those that learning rows ``start`` to ``end`` makes safer."""
        folders = [self.plant.anchor(row).folder for row in (start, anchor, end)]
        resources = self.plant.resources
        locked = lock_cases(self, {"rows": start}, folders[0], resources, anchor=folders[1])
        return len(locked or ()), find_safer_answers(self, locked or (), folders[2], resources) or []


def main() -> None:
    """Judge each week, print the held ones and keep all figures."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--weeks", type=int, default=120)
    options = command.parse_args()
    held, sizes = {}, []
    with TemporaryDirectory() as folder:
        plant = Plant(CsvStore(options.data).read(), Path(folder))
        days = np.array([time[:10] for time in plant.columns["detected_at"]], "datetime64[D]")
        number = days.astype(int) // 7
        weeks = Weeks(plant)
        for week in np.unique(number)[-options.weeks :]:
            batch = np.flatnonzero(number == week)
            start = int(batch[0])
            old = int(np.searchsorted(days, days[start] - ANCHOR_DAYS))
            size, safer = weeks.judge(start, int(batch[-1]) + 1, max(old, start - ANCHOR_ROWS))
            sizes.append(size)
            if safer:
                held[str(days[start])] = list(map(str, safer))
                print(days[start], held[str(days[start])], flush=True)
    print(f"{len(held)} of {len(sizes)} genuine weeks held back; {np.mean(sizes):.0f} reports are locked")
    print(write_results("scoring_severe_cases", json.loads(json.dumps({"held": held, "locked": sizes}))))


if __name__ == "__main__":
    main()
