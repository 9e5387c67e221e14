"""What the servers are asked: fresh reports that look like a plant's own, and histories of any length."""

from __future__ import annotations

import csv
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from demo.anomaly_reports import COLUMNS, SCORE_COLUMNS, generate

Record = dict[str, Any]
FIRST_MOMENT = datetime(2026, 1, 1)
SCORE_FIELDS = tuple(f"{score}_score" for score, _ in SCORE_COLUMNS.values())
SHIFTS = ("équipe du matin", "équipe de nuit", "ronde", "night shift", "morning round", "après arrêt")


def copy_history(source: Path, data_dir: Path) -> None:
    """Put a plant's three CSV files into a data folder."""
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in SCORE_COLUMNS:
        shutil.copyfile(source / name, data_dir / name)


def generate_history(data_dir: Path, count: int, seed: int = 1) -> int:
    """Write three CSV files of the invented plant; the number of distinct descriptions in them."""
    data_dir.mkdir(parents=True, exist_ok=True)
    reports = generate(count, seed)
    for name, (score, header) in SCORE_COLUMNS.items():
        with (data_dir / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*COLUMNS, header))
            writer.writerows((*report.identity, getattr(report, score)) for report in reports)
    return len({report.description for report in reports})


class FreshReports:
    """Reports nobody has sent before, on the machines of a history.

    Each takes a past report's machine, scores and words, and tells them a little differently, so that no
    cache has seen its text.
    """

    def __init__(self, data_dir: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._past = [_rows(data_dir / name) for name in SCORE_COLUMNS]
        self._label = f"bench-{seed}"
        self._made = 0

    def records(self, count: int) -> list[Record]:
        """Scored reports as ``POST /train`` takes them."""
        return [self._record() for _ in range(count)]

    def questions(self, count: int) -> list[Record]:
        """Return the same without scores, as ``POST /predict`` takes them."""
        return [{k: v for k, v in self._record().items() if not k.endswith("_score")} for _ in range(count)]

    def _record(self) -> Record:
        self._made += 1
        place = self._chance.randrange(len(self._past[0]))
        identity = self._past[0][place]
        scores = (float(rows[place][6]) for rows in self._past)
        return {
            "anomaly_id": f"{self._label}-{self._made:06d}",
            "description": self._retold(identity[2]),
            "equipment_name": identity[4].strip(),
            "equipment_id": identity[0],
            "system": identity[1],
            "owner_section": identity[5],
            "detected_at": (FIRST_MOMENT + timedelta(minutes=self._made)).isoformat(),
            **dict(zip(SCORE_FIELDS, scores, strict=True)),
        }

    def _retold(self, description: str) -> str:
        words = description.split()
        if len(words) > 3 and self._chance.random() < 0.5:
            words.pop(self._chance.randrange(len(words)))
        return f"{' '.join(words)}, {self._chance.choice(SHIFTS)} {self._chance.randint(1, 10**6)}"[:2000]


def same_rows(folders: Sequence[Path]) -> bool:
    """Whether the CSV files of all folders hold the same rows, whatever their order and quoting."""
    return all(
        len({frozenset(_counted(folder / name).items()) for folder in folders}) == 1 for name in SCORE_COLUMNS
    )


def _counted(path: Path) -> Counter[tuple[str, ...]]:
    """How often each row stands in a file; moments are left out, since servers fill them in themselves."""
    return Counter((*row[:3], row[4].strip(), row[5], str(float(row[6]))) for row in _rows(path))


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))[1:]
