"""The state of the machine and the server beneath the models."""

from __future__ import annotations

import shutil

from storage.container import Storage
from storage.filesystem.files import storage_errors


class SystemService:
    """What an operator watches: disk, database, web workers."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def free_bytes(self) -> int:
        """Return how many bytes are free on the disk of the home folder."""
        with storage_errors(self._storage.settings.home):
            return shutil.disk_usage(self._storage.settings.home).free

    def ping_database(self) -> None:
        """Ask the database for an answer.

        Raises
        ------
        NotReady, StorageFailed
            There is none.
        """
        self._storage.database.ping()

    def is_read_only(self) -> bool:
        """Return whether the disk has no space even for the database's own index, so that nothing can be stored."""
        return self._storage.database.is_read_only()

    def finish_pending_commit(self) -> None:
        """Finish a commit that a dead process or a full disk left behind; costs one ``stat`` if there is none.

        Raises
        ------
        NotReady, StorageFailed, ArtefactCorrupt
            It cannot be finished now.
        """
        self._storage.journal.finish_pending()

    def check_home(self) -> None:
        """Check that every folder of the home is where it was; raise HomeChanged where one is not."""
        self._storage.folders.check()

    def home_issues(self, part: str | None = None) -> list[str]:
        """Return a sentence for every part of the home, or for one, that is not where it was, or was missing."""
        return [*self._storage.folders.changes(part), *self._storage.folders.losses(part)]

    def journal_issue(self) -> str | None:
        """Describe a commit that nobody is finishing."""
        return self._storage.journal.issue()

    def worker_errors(self, tenant: str) -> list[str]:
        """Return why web workers could not load models of a tenant: one sentence for each worker concerned."""
        failures = (worker.failure(tenant) for worker in self._storage.workers.list_live())
        return [failure for failure in failures if failure]
