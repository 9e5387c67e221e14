"""Time series of an invented plant, the same at every run: a transformer, and a pump that wears out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from math import exp, pi, sin

FIRST_HOUR = datetime(2024, 1, 1)
SEED = 20_260
NUM_ROWS = 3_000
SeriesRow = Sequence[float]


def generate_transformer(rows: int, rng: random.Random) -> Iterator[SeriesRow]:
    """Yield six loads with a daily and a weekly rhythm, and the oil temperature that follows them slowly."""
    oil, drift = 35.0, 0.0
    for hour in range(rows):
        drift = 0.999 * drift + rng.gauss(0, 0.05)
        day, week = sin(2 * pi * (hour - 7) / 24), 0.4 if hour // 24 % 7 >= 5 else 1.0
        high = 10 + 6 * week * day + drift + rng.gauss(0, 0.8)
        middle = 7 + 4 * week * day + 0.5 * drift + rng.gauss(0, 0.6)
        low = 3 + sin(2 * pi * (hour - 12) / 24) + rng.gauss(0, 0.3)
        season = 8 * sin(2 * pi * hour / (24 * 365))
        oil += 0.15 * (20 + 1.2 * high + 0.6 * middle + season - oil) + rng.gauss(0, 0.3)
        yield high, high * 0.25, middle, middle * 0.2, low, low * 0.4, oil


def generate_degradation(rows: int, rng: random.Random) -> Iterator[SeriesRow]:
    """Yield a pump whose wear grows faster the more it is worn, until maintenance resets it."""
    wear, hours_in_service, next_maintenance = 0.02, 0.0, 620
    for hour in range(rows):
        load = 0.7 + 0.2 * sin(2 * pi * hour / 24) + rng.gauss(0, 0.04)
        wear += 0.0006 * load * (1 + 2 * wear) + max(0.0, rng.gauss(0, 0.0003))
        hours_in_service += 1
        if hours_in_service >= next_maintenance:
            wear, hours_in_service, next_maintenance = 0.02 + rng.random() * 0.03, 0.0, rng.randint(560, 680)
        vibration = 1.2 + 3 * wear**2 + 0.4 * load + rng.gauss(0, 0.08)
        # After maintenance the temperature takes two days to settle.
        temperature = 42 + 12 * load + 18 * wear + 4 * (1 - exp(-hours_in_service / 48)) + rng.gauss(0, 0.5)
        yield load * 100, vibration, wear, temperature, hours_in_service


KINDS: dict[str, tuple[Callable[[int, random.Random], Iterator[SeriesRow]], tuple[str, ...]]] = {
    "transformer": (generate_transformer, ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")),
    "degradation": (
        generate_degradation,
        ("load", "vibration", "degradation", "temperature_estimated", "time_since_last_maintenance"),
    ),
}


def csv_text(kind: str, rows: int = NUM_ROWS, seed: int = SEED) -> str:
    """Return one row per hour, with a header; equal arguments give equal text."""
    generate, columns = KINDS[kind]
    lines = [",".join(("date", *columns))]
    for hour, row in enumerate(generate(rows, random.Random(seed))):
        date = (FIRST_HOUR + timedelta(hours=hour)).isoformat(sep=" ")
        lines.append(",".join((date, *(f"{value:.4f}" for value in row))))
    return "\n".join(lines) + "\n"
