"""Which batch made a model worse: each batch since the anchor is scored by leaving it out."""

from __future__ import annotations

from collections.abc import Sequence

from errors import ArtefactCorrupt, NoChampion, NotFound
from prediction import registry
from prediction.contract import BatchInfluence, ModelKey
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import FileSignature, stat_signature
from storage.times import utc_now
from training.anchor import find_anchor, list_stored
from training.execution.executor import Executor
from training.execution.tasks import ChampionVersion, InfluenceTask, make_portable
from training.services.sessions import model_key
from training.services.stores import open_records

Cached = tuple[int, Sequence[FileSignature], list[BatchInfluence]]


class InfluenceService:
    """Measures what batches did to a model. A worker does it, once for each state of the data."""

    def __init__(self, storage: Storage, executor: Executor) -> None:
        self._storage = storage
        self._executor = executor
        self._cache: dict[ModelKey, Cached] = {}

    def of_session(self, session: Session) -> list[BatchInfluence]:
        """Return what its gate measured when it rejected a session; otherwise what is measured now."""
        key = model_key(session)
        if session.version is not None:
            try:
                manifest = self._storage.versions.get(key.path, session.version).manifest
            except (ArtefactCorrupt, NotFound):
                manifest = {}
            if measured := manifest.get("influence"):
                return [BatchInfluence(**batch) for batch in measured]
        return self.measure(key)

    def measure(self, key: ModelKey) -> list[BatchInfluence]:
        """Return each batch since the anchor, the most harmful first.

        Batches in quarantine are not among them: no model has learnt them.

        Raises
        ------
        NoChampion
            The model has no champion.
        """
        storage, entry = self._storage, registry.get_entry(key.family)
        champion = storage.versions.champion(key.path)
        if champion is None:
            raise NoChampion(f"{key} has no champion yet", model=str(key))
        settings, database = storage.settings, storage.database
        records = open_records(storage, key.family)
        signatures = [stat_signature(file) for file in records.data_files(key)]
        cached = self._cache.get(key)
        if cached is not None and cached[:2] == (champion.number, signatures):
            return cached[2]

        anchor = find_anchor(storage, champion, list_stored(storage, key), utc_now())
        source = registry.open_data_source(key.family, settings.data_dir, database)
        database_url = database.engine.url.render_as_string(hide_password=False)
        task = InfluenceTask(
            family=entry.family,
            source=make_portable(source.training_source(key, None), settings.home, database_url),
            options=champion.manifest["options"],
            anchor=ChampionVersion(
                anchor.number, anchor.folder.relative_to(settings.home).as_posix(), anchor.manifest
            ),
        )
        try:
            with self._executor.open_worker("trainer") as worker:
                batches = worker.run(task)
        finally:
            self._executor.ensure_warm_processes()
        self._cache[key] = champion.number, signatures, batches
        return batches
