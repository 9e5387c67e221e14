"""The contract between the common code and the model families.

A family implements five classes and lists them in ``prediction/registry.py``:

- a `RequestParser` checks what clients send (``requests``),
- a `RecordStore` stores training records in files; families without records use `NoRecords` (``records``),
- a `DataSource` checks and names the stored data of a model (``records``),
- a `ModelFamily` trains, in a child process (``family``),
- a `Predictor` serves, in a web worker (``predictor``).

Nothing in this package names a family.
"""

from prediction.contract.family import (
    UNREPORTED_FIELDS,
    BatchInfluence,
    Champion,
    DataImpact,
    Metric,
    ModelFamily,
    ParityProbe,
    PreparedData,
    Progress,
    Scores,
    SequentialEvidence,
    no_progress,
)
from prediction.contract.keys import JSON, ModelKey
from prediction.contract.predictor import Predictor, Resources
from prediction.contract.records import DataSource, NewRecords, NoRecords, QuarantinedBatch, RecordStore
from prediction.contract.requests import RecordBatch, RequestParser, Upload

__all__ = [
    "JSON",
    "UNREPORTED_FIELDS",
    "BatchInfluence",
    "Champion",
    "DataImpact",
    "DataSource",
    "Metric",
    "ModelFamily",
    "ModelKey",
    "NewRecords",
    "NoRecords",
    "ParityProbe",
    "Predictor",
    "PreparedData",
    "Progress",
    "QuarantinedBatch",
    "RecordBatch",
    "RecordStore",
    "RequestParser",
    "Resources",
    "Scores",
    "SequentialEvidence",
    "Upload",
    "no_progress",
]
