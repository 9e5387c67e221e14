"""What the page of a family that trains on data sets shows: its data, its models, its trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypedDict

from api.http.context import identity, manager
from dashboard.versions import VersionSummary, summarize_version
from prediction.contract import ModelKey
from storage.datasets.store import Dataset
from storage.db.sessions import Session, SessionSummary

MAX_MODELS, MAX_SESSIONS, MAX_DATA_SETS = 50, 10, 50
# Versions that stand side by side.
MAX_COMPARED: Final = 12


class ModelRow(TypedDict):
    """A model with the version that serves, and its last training."""

    key: ModelKey
    champion: VersionSummary | None
    is_damaged: bool
    last: Session | None


class FamilyPage(TypedDict):
    """What the template needs."""

    data_sets: list[Dataset]
    data_set_count: int
    models: list[ModelRow]
    has_more_models: bool
    sessions: Sequence[SessionSummary]


def describe_family(family: str, kind: str) -> FamilyPage:
    """Return the data sets of one kind, and the models and trainings of a family."""
    tenant, services = identity().tenant, manager()
    data_sets = [dataset for dataset in services.datasets.list(tenant) if dataset.kind == kind]
    keys = services.models.keys(tenant, family, limit=MAX_MODELS + 1)
    numbers, damaged = services.models.champion_numbers(keys[:MAX_MODELS])
    return {
        "data_sets": data_sets[:MAX_DATA_SETS],
        "data_set_count": len(data_sets),
        "models": [
            {
                "key": key,
                "champion": summarize_version(key, number) if number is not None else None,
                "is_damaged": key in damaged,
                "last": services.sessions.last(key),
            }
            for key in keys[:MAX_MODELS]
            for number in [numbers.get(key)]
        ],
        "has_more_models": len(keys) > MAX_MODELS,
        "sessions": services.sessions.list_summaries(tenant, family=family, limit=MAX_SESSIONS),
    }
