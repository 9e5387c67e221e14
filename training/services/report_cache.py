"""Reports of sessions: written by a worker when somebody asks for the first time, then cached."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from errors import Conflict, NotFound
from prediction.contract import ModelKey
from reports.facts import collect
from reports.facts.session_facts import ReportFacts
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import make_folders, remove_tree, storage_errors, temporary_path
from storage.models.versions import ModelVersion
from training.execution.executor import Executor
from training.execution.ipc import nan_to_none
from training.execution.tasks import ReportTask
from training.services.sessions import SessionService

# Sessions whose reports stay in the cache.
MAX_CACHED_SESSIONS: Final = 200


class ReportCache:
    """The reports of ended sessions.

    They are cached under the hash of everything that they say: equal facts give the same files. No session
    waits for a report, and a report can be written again at any time.
    """

    def __init__(self, storage: Storage, executor: Executor, sessions: SessionService) -> None:
        self._storage = storage
        self._executor = executor
        self._sessions = sessions

    def file(self, session_id: int, tenant: str, file_format: str) -> Path:
        """Return the report of a session as ``pdf`` or ``html``.

        Raises
        ------
        NotFound
            The tenant has no such session.
        Conflict
            It has not ended yet.
        """
        session = self._sessions.get(session_id, tenant)
        if not session.has_ended:
            raise Conflict(f"Session {session_id} is {session.state}: there is no report before its end")
        return self._folder(session) / f"report.{file_format}"

    def of_version(self, version: ModelVersion, file_format: str) -> Path:
        """Return the report of the session that made a version.

        Raises
        ------
        NotFound
            The database does not know that session: the version came from elsewhere.
        Conflict
            It has not ended yet.
        """
        key, session_id = ModelKey.from_path(version.path), version.manifest.get("session_id")
        session = self._sessions.get(session_id, key.tenant) if session_id else None
        if session is None or not _is_maker(session, key, version.number):
            raise NotFound(f"There is no session that made version {version.number} of {key}")
        return self.file(session.id, key.tenant, file_format)

    def _folder(self, session: Session) -> Path:
        """Return the folder with both files, which are written now if they are not there."""
        settings = self._storage.settings
        facts = nan_to_none(collect.collect_facts(self._storage, session))
        author = (settings.language_model_url, settings.language_model) if settings.language_model_url else ""
        digest = hashlib.sha256(json.dumps([facts, author], sort_keys=True, default=str).encode()).hexdigest()
        folder = settings.cache_dir / "reports" / f"session-{session.id}" / digest[:32]
        if not folder.exists():
            self._write(facts, folder)
            with suppress(FileNotFoundError):  # another request makes room at this moment
                _make_room(folder)
        return folder

    def _write(self, facts: ReportFacts, folder: Path) -> None:
        """Have a worker that no training waits for write both files, and put them in place together."""
        make_folders(folder.parent)
        temporary = temporary_path(folder.parent)
        relative = temporary.relative_to(self._storage.settings.home).as_posix()
        try:
            with storage_errors(folder):
                temporary.mkdir()
                with self._executor.open_worker("reporter") as worker:
                    worker.run(ReportTask(facts, relative))
                try:
                    temporary.rename(folder)
                except OSError:  # another request has written the same report in the meantime
                    if not folder.exists():
                        raise
        finally:
            remove_tree(temporary)


def _make_room(folder: Path) -> None:
    """Delete what a report replaces, and the reports of the sessions whose were written longest ago."""
    for sibling in folder.parent.iterdir():
        if sibling != folder and len(sibling.name) == len(folder.name):
            remove_tree(sibling)
    by_age = sorted(folder.parent.parent.glob("session-*"), key=lambda path: path.stat().st_mtime)
    for oldest in by_age[:-MAX_CACHED_SESSIONS]:
        remove_tree(oldest)


def _is_maker(session: Session, key: ModelKey, version: int) -> bool:
    """Return whether a session made a version: a database begun anew may give its number to another one."""
    is_own = (session.name, session.version) == (key.name, version)
    return session.family == key.family and (is_own or bool(session.items))
