"""The only list of families: a new family is one folder and one entry here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from errors import NotFound
from prediction.contract import (
    AnyFamily,
    AnyPredictor,
    DataSource,
    RecordBatch,
    RecordStore,
    RequestParser,
    SevereCaseReader,
)
from prediction.monitoring import FamilyMonitor
from prediction.records import TableRows

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
    severe_cases : str
        `SevereCaseReader`; empty for a family without severe cases.
    targets : tuple of str
        What one training retrains: responses count records and models by these.
    takes_records : bool
        Whether a training request brings records; otherwise its body is the options.
    is_quick : bool
        Whether a training takes seconds: a request waits for its end unless told otherwise, and models are trained
        with every batch of data, so that several rejections in a row are a fault and no experiments.
    takes_files : bool
        Whether a prediction request may be a file, which the parser gets as an `Upload`.
    options : str
        A marshmallow schema of the training options, from which forms are made; none where it is empty.
    query_options : str
        A marshmallow schema of what may stand in the query of a prediction request; none where it is empty.
    predicts_devices : bool
        Whether a device's name is enough to ask for a prediction, as the route of a device's health does.
    is_preloaded : bool
        Whether the pre-warmed child process imports the family, so that its sessions start at once.
    """

    parser: str
    source: str
    family: str
    predictor: str
    store: str = "prediction.contract.records:NoRecords"
    monitor: str = ""
    severe_cases: str = ""
    targets: tuple[str, ...] = ("model",)
    takes_records: bool = False
    is_quick: bool = False
    takes_files: bool = False
    options: str = ""
    query_options: str = ""
    predicts_devices: bool = False
    is_preloaded: bool = False


# The family behind /train and /predict, the routes of the client's guide, which name none.
DEFAULT_FAMILY = "scoring"

FAMILIES: dict[str, FamilyEntry] = {
    "scoring": FamilyEntry(
        parser="prediction.scoring.requests.parser:ScoringRequestParser",
        source="prediction.scoring.data.record_store:ScoringDataSource",
        store="prediction.scoring.data.record_store:ScoringRecordStore",
        family="prediction.scoring.family:ScoringFamily",
        predictor="prediction.scoring.serving.predictor:ScoringPredictor",
        severe_cases="prediction.scoring.serving.severe_reports:SevereReports",
        targets=("availability", "fiability", "process_safety"),
        takes_records=True,
        is_quick=True,
        query_options="prediction.scoring.requests.query_options:ScoringQueryOptions",
        is_preloaded=True,
    ),
    "sensors": FamilyEntry(
        parser="prediction.sensors.request_parser:SensorsRequestParser",
        source="prediction.sensors.data_source:SensorsDataSource",
        family="prediction.sensors.family:SensorsFamily",
        predictor="prediction.sensors.serving.predictor:SensorsPredictor",
        monitor="prediction.sensors.monitoring:SensorsMonitor",
        is_quick=True,
    ),
    "forecasting": FamilyEntry(
        parser="prediction.forecasting.requests:ForecastingParser",
        source="prediction.forecasting.requests:ForecastingSource",
        family="prediction.forecasting.family:ForecastingFamily",
        predictor="prediction.forecasting.serving.predictor:ForecastingPredictor",
        options="prediction.forecasting.options:ForecastingOptions",
        query_options="prediction.forecasting.query_options:ForecastingQueryOptions",
    ),
    "damage": FamilyEntry(
        parser="prediction.damage.requests:DamageParser",
        source="prediction.damage.requests:DamageSource",
        family="prediction.damage.family:DamageFamily",
        predictor="prediction.damage.serving.predictor:DamagePredictor",
        options="prediction.damage.options:DamageOptions",
        takes_files=True,
        query_options="prediction.damage.query_options:DamageQueryOptions",
    ),
    "rul": FamilyEntry(
        parser="prediction.rul.request_parser:RulRequestParser",
        source="prediction.rul.data_source:RulDataSource",
        family="prediction.rul.family:RulFamily",
        predictor="prediction.rul.predictor:RulPredictor",
        options="prediction.rul.options:RulOptions",
        monitor="prediction.rul.monitoring.monitor:RulMonitor",
        predicts_devices=True,
    ),
    "equipment": FamilyEntry(
        parser="prediction.equipment.request_parser:EquipmentRequestParser",
        source="prediction.equipment.data_source:EquipmentDataSource",
        family="prediction.equipment.family:EquipmentFamily",
        predictor="prediction.equipment.predictor:EquipmentPredictor",
        monitor="prediction.equipment.monitoring:EquipmentMonitor",
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


def find_device_family() -> str:
    """Return the name of the family that predicts for devices."""
    return next(name for name, entry in FAMILIES.items() if entry.predicts_devices)


def create_parser(family: str) -> RequestParser:
    """Return the request parser of a family."""
    parser: RequestParser = resolve_name(get_entry(family).parser)()
    return parser


def parse_inputs(family: str, raw: object) -> RecordBatch:
    """Return the inputs of a prediction as a family reads them, with what the reading of a CSV text noted."""
    return _add_notes(create_parser(family).parse_inputs(raw), raw)


def parse_records(family: str, raw: object) -> RecordBatch:
    """Return the records of a training as a family reads them, with what the reading of a CSV text noted."""
    return _add_notes(create_parser(family).parse_records(raw), raw)


def _add_notes(batch: RecordBatch, raw: object) -> RecordBatch:
    return replace(batch, warnings=[*raw.notes, *batch.warnings]) if isinstance(raw, TableRows) else batch


def open_data_source(family: str, data_dir: Path, database: Database | None = None) -> DataSource:
    """Return the stored data of a family's models, in a data folder and a database."""
    source: DataSource = resolve_name(get_entry(family).source)(data_dir, database)
    return source


def open_record_store(family: str, data_dir: Path, database: Database | None = None) -> RecordStore:
    """Return the store of the records that clients send to a family."""
    store: RecordStore = resolve_name(get_entry(family).store)(data_dir, database)
    return store


def load_family(name: str) -> AnyFamily:
    """Return the training half. It imports scikit-learn or torch, so only child processes call this."""
    family: AnyFamily = resolve_name(get_entry(name).family)()
    return family


def load_predictor(name: str) -> type[AnyPredictor]:
    """Return the serving half."""
    predictor: type[AnyPredictor] = resolve_name(get_entry(name).predictor)
    return predictor


def load_monitor(name: str) -> type[FamilyMonitor] | None:
    """Return the monitor of a family's models; None where the family has none."""
    address = get_entry(name).monitor
    monitor: type[FamilyMonitor] | None = resolve_name(address) if address else None
    return monitor


def open_severe_cases(name: str) -> SevereCaseReader | None:
    """Return the reader of a family's severe cases; None where the family has none."""
    address = get_entry(name).severe_cases
    reader: SevereCaseReader | None = resolve_name(address)() if address else None
    return reader


def load_option_schema(name: str) -> type[Schema] | None:
    """Return the schema of a family's training options; None where the family names none."""
    address = get_entry(name).options
    schema: type[Schema] | None = resolve_name(address) if address else None
    return schema


def load_query_options() -> list[type[Schema]]:
    """Return the schemas of all families' query options, in order of the families."""
    return [resolve_name(entry.query_options) for entry in FAMILIES.values() if entry.query_options]
