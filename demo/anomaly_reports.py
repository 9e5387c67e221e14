"""Anomaly reports of an invented plant, the same at every run.

``millwright demo reports data/demo`` writes the three CSV files that are shipped.
"""

from __future__ import annotations

import csv
import io
import random
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from demo import plant
from settings import PROJECT
from storage.filesystem.checked_write import write_atomic, write_checked

DEMO_FOLDER = PROJECT / "data" / "demo"
SEED = 20_260
NUM_REPORTS = 400
FIRST_DAY = datetime(2021, 1, 4)
NUM_YEARS = 5
ENGLISH_SHARE = 0.3
# Operators often type in capitals without accents.
CAPITALS_SHARE = 0.15
# Subtracted from every score: about half of the availability scores of real plants are 1.
SCORE_OFFSET = 0.12
SCORE_NOISE = 0.25

COLUMNS = (
    "Num_equipement",
    "Systeme",
    "Description",
    "Date de détéction de l'anomalie",
    "Description de l'équipement",
    "Section propriétaire",
)
SCORE_COLUMNS = {
    "disponibilite.csv": ("availability", "Disponibilté"),
    "fiabilite.csv": ("fiability", "Fiabilité Intégrité"),
    "process_safty.csv": ("process_safety", "Process Safety"),
}
# How much importance and severity of a defect move availability, fiability and process safety.
_SEVERITY_WEIGHTS = (0.65, 0.25, 0.1)
_NAMESPACE = uuid.UUID("6d0f2c1e-9f52-4a2b-8c5e-71b1d8f0a3c4")


@dataclass(frozen=True)
class DemoReport:
    """One anomaly report with its three scores from 1 to 5."""

    machine: plant.PlantMachine
    description: str
    detected_at: datetime
    availability: int
    fiability: int
    process_safety: int

    @property
    def identity(self) -> tuple[str, ...]:
        """The six columns that the three files share."""
        return (
            _make_id(self.machine.name),
            _make_id(self.machine.system),
            self.description,
            self.detected_at.isoformat(sep=" "),
            self.machine.name,
            plant.SECTIONS[self.machine.system],
        )


def generate(count: int = NUM_REPORTS, seed: int = SEED) -> list[DemoReport]:
    """Return reports in order of their dates; equal arguments give equal reports."""
    rng = random.Random(seed)
    minutes = sorted(rng.sample(range(NUM_YEARS * 365 * 24 * 60), count))
    return [_generate_report(rng, FIRST_DAY + timedelta(minutes=minute)) for minute in minutes]


def demo_records(count: int, seed: int) -> list[dict[str, object]]:
    """Return reports as ``POST /train`` takes them."""
    return [
        {
            "anomaly_id": str(uuid.uuid5(_NAMESPACE, f"anomaly {seed} {number}")),
            "description": report.description,
            "equipment_name": report.machine.name,
            "equipment_id": report.identity[0],
            "system": report.identity[1],
            "owner_section": report.identity[5],
            "availability_score": report.availability,
            "fiability_score": report.fiability,
            "process_safety_score": report.process_safety,
        }
        for number, report in enumerate(generate(count, seed))
    ]


def random_records(count: int) -> list[dict[str, object]]:
    """Return reports that no server has seen before: different ones at every call."""
    return demo_records(count, seed=random.SystemRandom().getrandbits(48))


def write_csv(folder: Path) -> None:
    """Write the three files of the demo plant."""
    folder.mkdir(parents=True, exist_ok=True)
    reports = generate()
    for file_name, (score, header) in SCORE_COLUMNS.items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((*COLUMNS, header))
        writer.writerows((*report.identity, getattr(report, score)) for report in reports)
        write_checked(folder / file_name, text.getvalue().encode())


def install_demo_reports(data_dir: Path) -> bool:
    """Copy the shipped files into a data folder; return False where it already has a CSV file."""
    if any(data_dir.glob("*.csv")):
        return False
    data_dir.mkdir(parents=True, exist_ok=True)
    for file_name in SCORE_COLUMNS:
        write_atomic(data_dir / file_name, (DEMO_FOLDER / file_name).read_bytes())
    return True


def _generate_report(rng: random.Random, detected_at: datetime) -> DemoReport:
    machine = rng.choice(plant.MACHINES)
    defect = rng.choice(plant.DEFECTS[machine.kind])
    severity, *severity_texts = rng.choice(plant.SEVERITIES)
    english = rng.random() < ENGLISH_SHARE
    description = _generate_description(rng, defect, severity_texts[english], english)
    usual = (defect.availability, defect.fiability, defect.process_safety)
    scores = [
        score
        + weight * (machine.importance - 1)
        + severity * weight
        + rng.gauss(0, SCORE_NOISE)
        - SCORE_OFFSET
        for score, weight in zip(usual, _SEVERITY_WEIGHTS, strict=True)
    ]
    return DemoReport(machine, description, detected_at, *(min(5, max(1, round(score))) for score in scores))


def _generate_description(rng: random.Random, defect: plant.DefectType, severity: str, english: bool) -> str:
    place = rng.choice(plant.PLACES)[english]
    remark = rng.choice(plant.REMARKS)[english]
    text = " ".join((defect.english if english else defect.french).replace("{place}", place).split())
    text = f"{text}, {severity}" if severity else text
    text = f"{text}. {remark}" if remark else text
    text = text.replace("{number}", str(rng.randint(3, 28)))
    if rng.random() >= CAPITALS_SHARE:
        return text
    decomposed = unicodedata.normalize("NFD", text.upper())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _make_id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))
