"""Believable time series of an invented plant, the same at every run.

``python demo/series.py transformer transformer.csv`` writes hourly loads and the oil temperature of a
transformer; ``python demo/series.py degradation pump.csv`` a pump that wears out and is maintained.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from math import exp, pi, sin
from pathlib import Path

FIRST_HOUR = datetime(2024, 1, 1)
SEED = 20_260
ROWS = 3_000
Row = Sequence[float]


def transformer(rows: int, chance: random.Random) -> Iterator[Row]:
    """Six loads with a daily and a weekly rhythm, and the oil temperature that follows them slowly."""
    oil, drift = 35.0, 0.0
    for hour in range(rows):
        drift = 0.999 * drift + chance.gauss(0, 0.05)
        day, week = sin(2 * pi * (hour - 7) / 24), 0.4 if hour // 24 % 7 >= 5 else 1.0
        high = 10 + 6 * week * day + drift + chance.gauss(0, 0.8)
        middle = 7 + 4 * week * day + 0.5 * drift + chance.gauss(0, 0.6)
        low = 3 + sin(2 * pi * (hour - 12) / 24) + chance.gauss(0, 0.3)
        season = 8 * sin(2 * pi * hour / (24 * 365))
        oil += 0.15 * (20 + 1.2 * high + 0.6 * middle + season - oil) + chance.gauss(0, 0.3)
        yield high, high * 0.25, middle, middle * 0.2, low, low * 0.4, oil


def degradation(rows: int, chance: random.Random) -> Iterator[Row]:
    """A pump whose wear grows faster the more it is worn, until maintenance sets it back."""
    worn, since, next_stop = 0.02, 0.0, 620
    for hour in range(rows):
        load = 0.7 + 0.2 * sin(2 * pi * hour / 24) + chance.gauss(0, 0.04)
        worn += 0.0006 * load * (1 + 2 * worn) + max(0.0, chance.gauss(0, 0.0003))
        since += 1
        if since >= next_stop:
            worn, since, next_stop = 0.02 + chance.random() * 0.03, 0.0, chance.randint(560, 680)
        vibration = 1.2 + 3 * worn**2 + 0.4 * load + chance.gauss(0, 0.08)
        temperature = 42 + 12 * load + 18 * worn + 4 * (1 - exp(-since / 48)) + chance.gauss(0, 0.5)
        yield load * 100, vibration, worn, temperature, since


KINDS: dict[str, tuple[Callable[[int, random.Random], Iterator[Row]], tuple[str, ...]]] = {
    "transformer": (transformer, ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")),
    "degradation": (
        degradation,
        ("load", "vibration", "degradation", "temperature_estimated", "time_since_last_maintenance"),
    ),
}


def csv_text(kind: str, rows: int = ROWS, seed: int = SEED) -> str:
    """One row an hour, with a header; equal arguments give equal text."""
    made, columns = KINDS[kind]
    lines = [",".join(("date", *columns))]
    for hour, row in enumerate(made(rows, random.Random(seed))):
        stamp = (FIRST_HOUR + timedelta(hours=hour)).isoformat(sep=" ")
        lines.append(",".join((stamp, *(f"{value:.4f}" for value in row))))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write one of the demo series as a CSV file."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("kind", choices=sorted(KINDS))
    command.add_argument("file", type=Path)
    command.add_argument("--rows", type=int, default=ROWS, help="hours to write (default: %(default)s)")
    asked = command.parse_args()
    asked.file.write_text(csv_text(asked.kind, asked.rows), encoding="utf-8")
    print(f"{asked.rows} rows of a {asked.kind} series written to {asked.file}")


if __name__ == "__main__":
    main()
