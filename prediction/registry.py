"""The only list of families: a new family is one folder and one entry here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errors import NotFound
from prediction.contract import DataSource, ModelFamily, Predictor, RecordStore, RequestParser
from prediction.monitoring import FamilyMonitor

if TYPE_CHECKING:
    from marshmallow import Schema

    from storage.db.database import Database


@dataclass(frozen=True)
class FamilyEntry:
    """The classes of a family as ``module:class``, each imported on first use, and what is common to it.

    Parameters
    ----------
    parser, source, store : str
        `RequestParser`, `DataSource` and `RecordStore`.
    family, predictor, monitor : str
        `ModelFamily`, `Predictor` and `FamilyMonitor`; a family without a monitor is not retrained by the
        scheduler.
    targets : tuple of str
        What one training retrains: responses count records and models by these.
    takes_records : bool
        Whether a training request brings records. Otherwise its body is the options and, because such
        trainings are long, the response comes at once unless the caller asks to wait.
    takes_files : bool
        Whether a prediction request may be a file, which the parser gets as an `Upload`.
    query_options : str
        A marshmallow schema of what may stand in the query of a prediction request; none where it is empty.
    is_preloaded : bool
        Whether the pre-warmed child process imports the family, so that its sessions start at once.
    """

    parser: str
    source: str
    family: str
    predictor: str
    store: str = "prediction.contract.records:NoRecords"
    monitor: str = ""
    targets: tuple[str, ...] = ("model",)
    takes_records: bool = False
    takes_files: bool = False
    query_options: str = ""
    is_preloaded: bool = False


DEFAULT_FAMILY = "scoring"
"""The family behind /train and /predict, the routes of the client's guide, which name none."""

FAMILIES: dict[str, FamilyEntry] = {
    "scoring": FamilyEntry(
        parser="prediction.scoring.requests.parser:ScoringRequestParser",
        source="prediction.scoring.data.record_store:ScoringDataSource",
        store="prediction.scoring.data.record_store:ScoringRecordStore",
        family="prediction.scoring.family:ScoringFamily",
        predictor="prediction.scoring.serving.predictor:ScoringPredictor",
        targets=("availability", "fiability", "process_safety"),
        takes_records=True,
        query_options="prediction.scoring.requests.query_options:ScoringQueryOptions",
        is_preloaded=True,
    ),
    "sensors": FamilyEntry(
        parser="prediction.sensors.request_parser:SensorsRequestParser",
        source="prediction.sensors.data_source:SensorsDataSource",
        family="prediction.sensors.family:SensorsFamily",
        predictor="prediction.sensors.serving.predictor:SensorsPredictor",
        monitor="prediction.sensors.monitoring:SensorsMonitor",
        takes_records=True,
    ),
    "forecasting": FamilyEntry(
        parser="prediction.forecasting.requests:ForecastingParser",
        source="prediction.forecasting.requests:ForecastingSource",
        family="prediction.forecasting.family:ForecastingFamily",
        predictor="prediction.forecasting.serving.predictor:ForecastingPredictor",
        query_options="prediction.forecasting.query_options:ForecastingQueryOptions",
    ),
    "damage": FamilyEntry(
        parser="prediction.damage.requests:DamageParser",
        source="prediction.damage.requests:DamageSource",
        family="prediction.damage.family:DamageFamily",
        predictor="prediction.damage.serving.predictor:DamagePredictor",
        takes_files=True,
        query_options="prediction.damage.query_options:DamageQueryOptions",
    ),
    "rul": FamilyEntry(
        parser="prediction.rul.request_parser:RulRequestParser",
        source="prediction.rul.data_source:RulDataSource",
        family="prediction.rul.family:RulFamily",
        predictor="prediction.rul.predictor:RulPredictor",
        monitor="prediction.rul.monitoring.monitor:RulMonitor",
    ),
}


def get_entry(family: str) -> FamilyEntry:
    """Return the entry of a family.

    Raises
    ------
    NotFound
        There is no family of that name.
    """
    if family not in FAMILIES:
        raise NotFound(f"There is no model family {family!r}; there are: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[family]


def create_parser(family: str) -> RequestParser:
    """Return the request parser of a family."""
    parser: RequestParser = _load(get_entry(family).parser)()
    return parser


def open_data_source(family: str, data_dir: Path, database: Database | None = None) -> DataSource:
    """Return the stored data of a family's models, in a data folder and a database."""
    source: DataSource = _load(get_entry(family).source)(data_dir, database)
    return source


def open_record_store(family: str, data_dir: Path, database: Database | None = None) -> RecordStore:
    """Return the store of the records that clients send to a family."""
    store: RecordStore = _load(get_entry(family).store)(data_dir, database)
    return store


def load_family(name: str) -> ModelFamily[Any, Any]:
    """Return the training half. It imports scikit-learn or torch, so only child processes call this."""
    family: ModelFamily[Any, Any] = _load(get_entry(name).family)()
    return family


def load_predictor(name: str) -> type[Predictor]:
    """Return the serving half."""
    predictor: type[Predictor] = _load(get_entry(name).predictor)
    return predictor


def load_monitor(name: str) -> type[FamilyMonitor] | None:
    """Return the monitor of a family's models; None where the family has none."""
    address = get_entry(name).monitor
    monitor: type[FamilyMonitor] | None = _load(address) if address else None
    return monitor


def load_query_options() -> list[type[Schema]]:
    """Return the schemas of all families' query options, in order of the families."""
    return [_load(entry.query_options) for entry in FAMILIES.values() if entry.query_options]


@cache
def _load(address: str) -> Any:
    module, name = address.split(":")
    return getattr(import_module(module), name)
