"""Reports of sessions: made in a child process when somebody asks for the first time, then kept."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from errors import Conflict, NotFound
from prediction.contract import JSON, no_progress
from reports.facts import collect
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import make_folders, remove_tree, storage_errors, temporary_path
from storage.models.versions import ModelVersion
from training.execution.child_process import ChildProcessExecutor
from training.execution.ipc import nan_to_none
from training.services.sessions import SessionService

log = structlog.get_logger()

MAX_CACHED_SESSIONS: Final = 200
"""Sessions whose reports stay in the cache."""


class ReportCache:
    """The reports of ended sessions.

    They are kept in the cache under the hash of everything that they say: equal facts, the same files. No
    session waits for any of this, and a report can be made again at any time.
    """

    def __init__(self, storage: Storage, executor: ChildProcessExecutor, sessions: SessionService) -> None:
        self._storage = storage
        self._executor = executor
        self._sessions = sessions

    def file(self, session_id: int, tenant: str, form: str) -> Path:
        """The report of a session as ``pdf`` or ``html``.

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
        return self._folder(session) / f"report.{form}"

    def of_version(self, version: ModelVersion, form: str) -> Path:
        """The report of the session that made a version.

        Raises
        ------
        NotFound
            The database does not know that session: the version came from elsewhere.
        Conflict
            It has not ended yet.
        """
        tenant, family, name = version.path.split("/")
        number = version.manifest.get("session_id")
        session = self._sessions.get(number, tenant) if number else None
        if session is None or not _made(session, family, name, version.number):
            raise NotFound(f"There is no session that made version {version.number} of {family}/{name}")
        return self.file(session.id, tenant, form)

    def _folder(self, session: Session) -> Path:
        """The folder with both files, made now where it is not there."""
        told, endpoint = nan_to_none(collect.collect_facts(self._storage, session)), self._endpoint()
        author = endpoint and (endpoint["url"], endpoint["model"])
        digest = hashlib.sha256(json.dumps([told, author], sort_keys=True, default=str).encode()).hexdigest()
        kept = self._storage.settings.cache_dir / "reports" / f"session-{session.id}" / digest[:32]
        if not kept.exists():
            self._make({"task": "report", "facts": told, "endpoint": endpoint}, kept)
            with suppress(FileNotFoundError):  # somebody else makes room at this moment
                self._make_room(kept)
        return kept

    def _endpoint(self) -> JSON | None:
        """The language model that writes the words, where one is configured."""
        settings = self._storage.settings
        if not settings.language_model_url:
            return None
        return {
            "url": settings.language_model_url,
            "model": settings.language_model,
            "key": settings.language_model_key,
            "timeout_seconds": settings.language_model_timeout_seconds,
            "allow_private": settings.language_model_allow_private,
        }

    def _make(self, task: JSON, kept: Path) -> None:
        """Have both files made by a process that no training waits for, and put them in place together."""
        make_folders(kept.parent)
        making = temporary_path(kept.parent)
        try:
            with storage_errors(kept):
                making.mkdir()
                with self._executor.start("reporter", {**task, "folder": str(making)}) as job:
                    job.result(no_progress)
                self._put(making, kept)
        finally:
            remove_tree(making)

    def _make_room(self, kept: Path) -> None:
        """Forget what this report replaces, and the reports of the sessions whose were made longest ago."""
        for other in kept.parent.iterdir():
            if other != kept and len(other.name) == len(kept.name):
                remove_tree(other)
        by_age = sorted(kept.parent.parent.glob("session-*"), key=lambda folder: folder.stat().st_mtime)
        for folder in by_age[:-MAX_CACHED_SESSIONS]:
            remove_tree(folder)

    def _put(self, making: Path, kept: Path) -> None:
        try:
            making.rename(kept)
        except OSError:  # somebody else has made the same report in the meantime
            if not kept.exists():
                raise


def _made(session: Session, family: str, name: str, version: int) -> bool:
    """Whether it is this version's session, and not one of its number in a database begun anew."""
    own = (session.name, session.version) == (name, version)
    return session.family == family and (own or bool(session.items))
