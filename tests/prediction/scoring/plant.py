"""An invented plant whose scores follow from device and fault, so that there is something to learn."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from storage.anomaly_reports.csv_store import CsvStore

DEVICES = {
    "P-10": ("Pompe alimentaire 10", "EAU", 3),
    "P-20": ("Pompe alimentaire 20", "EAU", 3),
    "V-07": ("Ventilateur de tirage", "AIR", 2),
    "B-A": ("Broyeur A", "CHARBON", 1),
    "B-B": ("Broyeur B", "CHARBON", 1),
}
FAULTS = {
    "fuite d'huile au palier": (1, 1, 2),
    "vibration élevée": (2, 2, 1),
    "calorifuge à remettre en état": (0, 0, 0),
    "odeur de brûlé, fumée": (1, 1, 4),
    "déclenchement intempestif": (2, 1, 0),
}
SECTIONS = ("34MC", "34EL", "34CT")


def record(number: int, device: str, fault: str, section: str = "34MC", **changes: Any) -> dict[str, Any]:
    """Return a scored report as the intake hands it on."""
    name, system, worth = DEVICES[device]
    adds = FAULTS[fault]
    moment = datetime(2023, 1, 1) + timedelta(hours=7 * number)
    return {
        "anomaly_id": f"A-{number}",
        "description": f"{fault} {name}",
        "equipment_name": name,
        "equipment_id": device,
        "system": system,
        "owner_section": section,
        "source": "",
        "detected_at": f"{moment:%Y-%m-%d %H:%M:%S}",
        "availability_score": float(min(5, worth + adds[0])),
        "fiability_score": float(1 + adds[1]),
        "process_safety_score": float(1 + adds[2]),
        "record_sha256": f"{number:064d}",
    } | changes


def records(count: int, seed: int = 1, first: int = 0) -> list[dict[str, Any]]:
    """Return reports of random devices and faults, seven hours apart."""
    chance = random.Random(seed)
    return [
        record(
            first + number,
            chance.choice(list(DEVICES)),
            chance.choice(list(FAULTS)),
            chance.choice(SECTIONS),
        )
        for number in range(count)
    ]


def write_reports(
    folder: Path, reports: list[dict[str, Any]], session: int = 1, quarantined: bool = False
) -> None:
    """Put reports into the CSV files of a data folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for append in CsvStore(folder).plan_append(reports, session, quarantined):
        path = folder / Path(append.path).name
        with path.open("ab") as file:
            file.write(append.text.encode())
