"""A server's training side whose model was trained once, for each family in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from prediction import registry
from prediction.contract import DataSource, RequestParser, Resources
from prediction.serving import ModelCache
from settings import Settings
from storage.container import open_storage
from storage.db.sessions import Session
from storage.models.versions import ModelVersion
from tests import toy_family
from tests.contract.plants import PLANTS, Plant
from training.execution.child_process import ChildProcessExecutor
from training_manager import TrainingManager

REGISTERED = sorted(registry.FAMILIES)


@dataclass(frozen=True)
class House:
    """A plant, its training manager, and the session that trained it first."""

    plant: Plant
    manager: TrainingManager
    session: Session

    @property
    def parser(self) -> RequestParser:
        return registry.create_parser(self.plant.key.family)

    @property
    def data_source(self) -> DataSource:
        storage = self.manager.storage
        return registry.open_data_source(self.plant.key.family, storage.settings.data_dir, storage.database)

    @property
    def version(self) -> ModelVersion:
        return self.manager.storage.versions.get(self.plant.key.path, 1)


@pytest.fixture(scope="package")
def all_families() -> Iterator[None]:
    """Register the tiny family, too; no process is warmed up, as each family is used once."""
    with pytest.MonkeyPatch.context() as patched:
        cold = {name: replace(registry.get_entry(name), is_preloaded=False) for name in REGISTERED}
        patched.setattr(registry, "FAMILIES", {**cold, "toy": toy_family.ENTRY})
        yield


@pytest.fixture(scope="package", params=sorted(PLANTS))
def house(
    request: pytest.FixtureRequest, all_families: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Return a plant after its first training: one a family, and one a kind of sensor model."""
    home: Path = tmp_path_factory.mktemp(request.param)
    settings = Settings(home=home, sentence_model="none", shutdown_grace_seconds=1)
    storage = open_storage(settings)
    plant = PLANTS[request.param](storage)
    live = ModelCache(storage.versions, Resources(settings.cache_dir))
    manager = TrainingManager(storage, ChildProcessExecutor(settings), live)
    manager.recover()
    records = None if plant.records is None else plant.records[:1]
    session = manager.train(plant.key, records, plant.options).session
    assert session is not None
    yield House(plant, manager, session)
    manager.close()
