"""The stored anomaly reports of the caller's tenant."""

from __future__ import annotations

from api.http.context import identity, manager
from prediction import registry
from prediction.contract import ModelKey
from prediction.scoring.data.record_store import ScoringRecordStore
from storage.anomaly_reports.reports import AnomalyReports


def report_model_key() -> ModelKey:
    """Return the model that learns from the tenant's reports."""
    return ModelKey(registry.DEFAULT_FAMILY, tenant=identity().tenant)


def read_stored_reports() -> AnomalyReports:
    """Return all stored reports of the tenant.

    Raises
    ------
    MillwrightError
        A file of reports cannot be read.
    """
    key = report_model_key()
    store = registry.open_record_store(key.family, manager().settings.data_dir)
    assert isinstance(store, ScoringRecordStore)
    return store.read(key)
