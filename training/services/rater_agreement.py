"""How raters agree with each other, as the stored records say. A worker measures it, once for each state."""

from __future__ import annotations

from collections.abc import Sequence

from prediction import registry
from prediction.contract import ModelKey, RaterAgreement
from storage.container import Storage
from storage.filesystem.files import FileSignature, stat_signature
from training.execution.executor import Executor
from training.execution.tasks import AgreementTask, make_portable
from training.services.stores import open_records


class RaterAgreementService:
    """Compares the raters of a model's records."""

    def __init__(self, storage: Storage, executor: Executor) -> None:
        self._storage = storage
        self._executor = executor
        self._cache: dict[ModelKey, tuple[Sequence[FileSignature], list[RaterAgreement]]] = {}

    def measure(self, key: ModelKey) -> list[RaterAgreement]:
        """Return the agreement of each rater and source; empty where no stored record names one.

        Raises
        ------
        MillwrightError
            The stored records cannot be read, or are too few to be compared.
        """
        settings, database = self._storage.settings, self._storage.database
        records = open_records(self._storage, key.family)
        if not records.names_raters(key):
            return []
        signatures = [stat_signature(file) for file in records.data_files(key)]
        cached = self._cache.get(key)
        if cached is not None and cached[0] == signatures:
            return cached[1]
        source = registry.open_data_source(key.family, settings.data_dir, database)
        database_url = database.engine.url.render_as_string(hide_password=False)
        task = AgreementTask(
            family=registry.get_entry(key.family).family,
            source=make_portable(source.training_source(key, None), settings.home, database_url),
            options=registry.create_parser(key.family).parse_options({}),
        )
        try:
            with self._executor.open_worker("trainer") as worker:
                raters = worker.run(task)
        finally:
            self._executor.ensure_warm_processes()
        self._cache[key] = signatures, raters
        return raters
