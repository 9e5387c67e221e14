"""The only list of families: a sixth family is one folder and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from errors import NotFound
from prediction.contract import Intake, ModelFamily, Predictor
from prediction.monitoring import FamilyMonitor

if TYPE_CHECKING:
    from storage.db.database import Database


@dataclass(frozen=True)
class FamilyEntry:
    """Where the three halves of a family live, as ``module:class``; each is imported on first use.

    A ``warm`` family is kept imported in the spare child process, so that its sessions start at once. One
    with an ``upkeep`` has its models looked after (``training/schedule``).
    """

    intake: str
    family: str
    predictor: str
    warm: bool = False
    upkeep: str = ""


FAMILIES: dict[str, FamilyEntry] = {
    "scoring": FamilyEntry(
        "prediction.scoring.requests.intake:ScoringIntake",
        "prediction.scoring.family:ScoringFamily",
        "prediction.scoring.serving.predictor:ScoringPredictor",
        warm=True,
    ),
    "sensors": FamilyEntry(
        "prediction.sensors.intake:SensorsIntake",
        "prediction.sensors.family:SensorsFamily",
        "prediction.sensors.serving.predictor:SensorsPredictor",
        upkeep="prediction.sensors.monitoring:SensorsMonitor",
    ),
    "forecasting": FamilyEntry(
        "prediction.forecasting.intake:ForecastingIntake",
        "prediction.forecasting.family:ForecastingFamily",
        "prediction.forecasting.serving.predictor:ForecastingPredictor",
    ),
    "damage": FamilyEntry(
        "prediction.damage.intake:DamageIntake",
        "prediction.damage.family:DamageFamily",
        "prediction.damage.serving.predictor:DamagePredictor",
    ),
    "rul": FamilyEntry(
        "prediction.rul.intake:RulIntake",
        "prediction.rul.family:RulFamily",
        "prediction.rul.predictor:RulPredictor",
        upkeep="prediction.rul.monitoring.monitor:RulMonitor",
    ),
}


def entry(family: str) -> FamilyEntry:
    """The entry of a family.

    Raises
    ------
    NotFound
        No family of that name.
    """
    if family not in FAMILIES:
        raise NotFound(f"There is no model family {family!r}; there are: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[family]


def intake(family: str, data_dir: Path, database: Database | None = None) -> Intake:
    """The family's intake over a data folder and, for families that keep tables, the database."""
    made: Intake = _imported(entry(family).intake)(data_dir, database)
    return made


def family(name: str) -> ModelFamily:
    """The training half; imports scikit-learn or torch, so only a child process asks for it."""
    made: ModelFamily = _imported(entry(name).family)()
    return made


def predictor(name: str) -> type[Predictor]:
    """The serving half."""
    found: type[Predictor] = _imported(entry(name).predictor)
    return found


def upkeep(name: str) -> type[FamilyMonitor] | None:
    """What looks after the family's models; None where nothing does."""
    address = entry(name).upkeep
    found: type[FamilyMonitor] | None = _imported(address) if address else None
    return found


@cache
def _imported(address: str):  # type: ignore[no-untyped-def]
    module, name = address.split(":")
    return getattr(import_module(module), name)
