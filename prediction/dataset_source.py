"""The data source of families that are trained on uploaded datasets."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from prediction.contract import DataSource, ModelKey, Options, TrainingSource
from storage.datasets.facts import DatasetFacts
from storage.datasets.store import DatasetStore


class DatasetSource(DataSource):
    """Datasets of the model's tenant below ``data/datasets/``; the option ``dataset`` names one."""

    @abstractmethod
    def check_facts(self, facts: DatasetFacts, options: Options) -> None:
        """Raise InvalidContent or NotEnoughData where no training could use the dataset."""

    def check_options(self, key: ModelKey, options: Options) -> None:
        """Raise where the dataset does not exist, or no training could use it."""
        store = DatasetStore(self.data_dir / "datasets")
        self.check_facts(store.get(options["dataset"], key.tenant).facts, options)

    def training_source(
        self, key: ModelKey, pending: Path | None, staged: Path | None = None
    ) -> TrainingSource:
        """Describe where the child finds the datasets of the model's tenant."""
        return {"datasets": str(self.data_dir / "datasets"), "tenant": key.tenant, "model": key.path}
