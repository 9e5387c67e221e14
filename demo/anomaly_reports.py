"""Believable anomaly reports of an invented plant, the same at every run.

``python demo/anomaly_reports.py --write data/demo`` writes the three CSV files that are shipped.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import shutil
import sys
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from demo import plant
from settings import PROJECT

DEMO_FOLDER = PROJECT / "data" / "demo"
SEED = 20_260
REPORTS = 400
FIRST_DAY = datetime(2021, 1, 4)
YEARS = 5
ENGLISH_SHARE = 0.3
SHOUTING_SHARE = 0.15
"""Reports typed in capitals without accents, as operators do."""
SKEW = 0.12
"""Moves all levels down until about half of the availability scores are 1, as in real plants."""

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
            _identifier(self.machine.name),
            _identifier(self.machine.system),
            self.description,
            self.detected_at.isoformat(sep=" "),
            self.machine.name,
            plant.SECTIONS[self.machine.system],
        )


def generate(count: int = REPORTS, seed: int = SEED) -> list[DemoReport]:
    """Reports in order of their dates; equal arguments give equal reports."""
    chance = random.Random(seed)
    minutes = sorted(chance.sample(range(YEARS * 365 * 24 * 60), count))
    return [_report(chance, FIRST_DAY + timedelta(minutes=minute)) for minute in minutes]


def demo_records(count: int, seed: int) -> list[dict[str, object]]:
    """Fresh reports as ``POST /train`` takes them."""
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
    """Reports that no server has seen before: others at every call."""
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
        (folder / file_name).write_text(text.getvalue(), encoding="utf-8", newline="")


def install_demo_reports(data_dir: Path) -> bool:
    """Put the shipped files into an empty data folder; False where it already holds a CSV file."""
    if any(data_dir.glob("*.csv")):
        return False
    data_dir.mkdir(parents=True, exist_ok=True)
    for file_name in SCORE_COLUMNS:
        shutil.copyfile(DEMO_FOLDER / file_name, data_dir / file_name)
    return True


def _report(chance: random.Random, detected_at: datetime) -> DemoReport:
    machine = chance.choice(plant.MACHINES)
    fault = chance.choice(plant.FAULTS[machine.kind])
    shift, *severity = chance.choice(plant.SEVERITIES)
    english = chance.random() < ENGLISH_SHARE
    return DemoReport(
        machine,
        _description(chance, fault, severity[english], english),
        detected_at,
        *_scores(chance, machine, fault, shift),
    )


def _description(chance: random.Random, fault: plant.DefectType, severity: str, english: bool) -> str:
    place = chance.choice(plant.PLACES)[english]
    remark = chance.choice(plant.REMARKS)[english]
    finding = " ".join((fault.english if english else fault.french).replace("{place}", place).split())
    text = f"{finding}, {severity}" if severity else finding
    text = f"{text}. {remark}" if remark else text
    text = text.replace("{number}", str(chance.randint(3, 28)))
    return _shouted(text) if chance.random() < SHOUTING_SHARE else text


def _scores(
    chance: random.Random, machine: plant.PlantMachine, fault: plant.DefectType, severity: float
) -> list[int]:
    usual = (fault.availability, fault.fiability, fault.process_safety)
    weight = (0.65, 0.25, 0.1)
    return [
        _bounded(level + weight[i] * (machine.importance - 1) + severity * weight[i] + chance.gauss(0, 0.25))
        for i, level in enumerate(usual)
    ]


def _bounded(level: float) -> int:
    return min(5, max(1, round(level - SKEW)))


def _identifier(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))


def _shouted(text: str) -> str:
    bare = unicodedata.normalize("NFD", text.upper())
    return "".join(letter for letter in bare if not unicodedata.combining(letter))


def main() -> None:
    """Write the demo plant's anomaly reports as CSV files."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument(
        "--write", type=Path, default=DEMO_FOLDER, metavar="FOLDER", help="default: %(default)s"
    )
    folder = command.parse_args().write
    write_csv(folder)
    print(f"{REPORTS} reports of {len(plant.MACHINES)} machines written to {folder}")


if __name__ == "__main__":
    main()
