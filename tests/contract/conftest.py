"""Each family's example, trained once without a server around it."""

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
from tests.contract.examples import ContractExample, load_examples
from training.execution.child_process import ChildProcessExecutor
from training.execution.in_process import InProcessExecutor
from training_manager import TrainingManager

REGISTERED = sorted(registry.FAMILIES)
EXAMPLES = load_examples()


@dataclass(frozen=True)
class TrainedModel:
    """A model after its first training."""

    example: ContractExample
    manager: TrainingManager
    session: Session

    @property
    def parser(self) -> RequestParser:
        return registry.create_parser(self.example.key.family)

    @property
    def data_source(self) -> DataSource:
        storage = self.manager.storage
        return registry.open_data_source(self.example.key.family, storage.settings.data_dir, storage.database)

    @property
    def version(self) -> ModelVersion:
        return self.manager.storage.versions.get(self.example.key.path, 1)


@pytest.fixture(scope="package")
def all_families() -> Iterator[None]:
    """Register the toy family; nothing is preloaded, as each family is used once."""
    with pytest.MonkeyPatch.context() as patched:
        cold = {name: replace(registry.get_entry(name), is_preloaded=False) for name in REGISTERED}
        patched.setattr(registry, "FAMILIES", {**cold, "toy": toy_family.ENTRY})
        yield


@pytest.fixture(scope="package", params=sorted(EXAMPLES))
def trained(
    request: pytest.FixtureRequest, all_families: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrainedModel]:
    """Yield each example after its first training, in child processes; what follows trains in this one."""
    home: Path = tmp_path_factory.mktemp(request.param)
    settings = Settings(home=home, sentence_model="none", shutdown_grace_seconds=1)
    storage = open_storage(settings)
    example = EXAMPLES[request.param](storage)
    live = ModelCache(storage.versions, Resources(settings.cache_dir))
    with_processes = TrainingManager(storage, ChildProcessExecutor(settings), live)
    with_processes.recover()
    records = None if example.records is None else example.records[:1]
    session = with_processes.train(example.key, records, example.options).session
    with_processes.close()
    manager = TrainingManager(storage, InProcessExecutor(settings), live)
    yield TrainedModel(example, manager, session)
    manager.close()
