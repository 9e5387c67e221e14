"""The state of the machine and the server beneath the models."""

from __future__ import annotations

import shutil

from storage.container import Storage


class SystemService:
    """What an operator watches: disk, database, web workers."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def free_bytes(self) -> int:
        """Return how many bytes are free on the disk of the home folder."""
        return shutil.disk_usage(self._storage.settings.home).free

    def ping_database(self) -> None:
        """Ask the database for an answer.

        Raises
        ------
        NotReady, StorageFailed
            There is none.
        """
        self._storage.database.ping()

    def finish_pending_commit(self) -> None:
        """Finish a commit that a dead process or a full disk left behind; costs one ``stat`` if there is none.

        Raises
        ------
        NotReady, StorageFailed, ArtefactCorrupt
            It cannot be finished now.
        """
        self._storage.journal.finish_pending()

    def journal_issue(self) -> str | None:
        """Describe a commit that nobody is finishing."""
        return self._storage.journal.issue()

    def worker_errors(self) -> list[str]:
        """Return why web workers could not load their models."""
        return [worker.error for worker in self._storage.workers.list_live() if worker.error]
