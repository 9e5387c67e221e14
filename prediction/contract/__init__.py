"""The contract between the common code and the model families.

A family implements five classes and lists them in ``prediction/registry.py``:

- a `RequestParser` checks what clients send (``requests``),
- a `RecordStore` stores training records in files; families without records use `NoRecords` (``records``),
- a `DataSource` checks and names the stored data of a model (``records``),
- a `ModelFamily` trains, in a child process (``family``),
- a `Predictor` serves, in a web worker (``predictor``).

A family that is trained with labelled records adds a `RecordReviewer` to its `ModelFamily` (``family``). It may
add a `SevereCaseReader`, whose cases no version answers safer unseen (``severe_cases``).

Nothing in this package names a family.
"""

from prediction.contract.family import (
    AnyFamily,
    BatchInfluence,
    Champion,
    DataImpact,
    Metric,
    MissedSevere,
    ModelFamily,
    ParityProbe,
    PreparedData,
    Progress,
    RaterAgreement,
    RecordReviewer,
    ScoreAgreement,
    Scores,
    SequentialEvidence,
    no_progress,
)
from prediction.contract.keys import JSON, ModelKey, Options, Record, TrainingSource
from prediction.contract.predictor import AnyPredictor, Predictor, Resources, artefact_errors
from prediction.contract.records import DataSource, NewRecords, NoRecords, QuarantinedBatch, RecordStore
from prediction.contract.requests import RecordBatch, RequestParser, Upload
from prediction.contract.severe_cases import Rating, SevereCase, SevereCaseReader

__all__ = [
    "JSON",
    "AnyFamily",
    "AnyPredictor",
    "BatchInfluence",
    "Champion",
    "DataImpact",
    "DataSource",
    "Metric",
    "MissedSevere",
    "ModelFamily",
    "ModelKey",
    "NewRecords",
    "NoRecords",
    "Options",
    "ParityProbe",
    "Predictor",
    "PreparedData",
    "Progress",
    "QuarantinedBatch",
    "RaterAgreement",
    "Rating",
    "Record",
    "RecordBatch",
    "RecordReviewer",
    "RecordStore",
    "RequestParser",
    "Resources",
    "ScoreAgreement",
    "Scores",
    "SequentialEvidence",
    "SevereCase",
    "SevereCaseReader",
    "TrainingSource",
    "Upload",
    "artefact_errors",
    "no_progress",
]
