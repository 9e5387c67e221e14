"""Severe cases of a model: which are locked, which the plant has chosen, and what another version answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from errors import ArtefactCorrupt, InvalidContent, MillwrightError, NotFound, describe_error
from prediction import registry
from prediction.contract import ModelKey, Resources, SevereCaseReader, TrainingSource
from prediction.severe_cases import LockedCase, SaferAnswer, find_safer_answers, lock_cases
from storage.container import Storage
from storage.models.chosen_cases import ChosenCases
from storage.models.versions import ModelVersion
from storage.times import utc_now
from training.anchor import find_anchor, list_stored

log = structlog.get_logger()

# Every training asks two versions about each.
MAX_CHOSEN: Final = 500


@dataclass(frozen=True)
class LockedSet:
    """The severe cases of a model.

    Parameters
    ----------
    cases : sequence of LockedCase or None
        None where no version serves, or the serving one cannot be asked.
    chosen : ChosenCases, optional
        Who chose them; None where the newest ones are locked.
    """

    cases: Sequence[LockedCase] | None
    chosen: ChosenCases | None

    @property
    def missing(self) -> list[str]:
        """The chosen cases that are not stored, or not severe any more: nothing guards them."""
        if self.chosen is None or self.cases is None:
            return []
        found = {entry.case.id for entry in self.cases}
        return [case for case in self.chosen.cases if case not in found]


class SevereCaseService:
    """The severe cases of all models."""

    def __init__(self, storage: Storage, resources: Resources) -> None:
        self._storage = storage
        self._resources = resources

    def locked(self, key: ModelKey) -> LockedSet:
        """Return the cases that the next version must not answer safer.

        Raises
        ------
        NotFound
            The family has no severe cases.
        DataFileInvalid, ArtefactCorrupt
            The data, or the serving version, cannot be read.
        """
        reader, source = self._open(key)
        chosen = self._storage.chosen_cases.get(key.path)
        champion = self._storage.versions.champion(key.path)
        if champion is None:
            return LockedSet(None, chosen)
        self._storage.versions.verify(champion)
        anchor = find_anchor(self._storage, champion, list_stored(self._storage, key), utc_now())
        cases = lock_cases(
            reader,
            source,
            champion.folder,
            self._resources,
            anchor=anchor.folder,
            chosen=None if chosen is None else chosen.cases,
        )
        return LockedSet(cases, chosen)

    def choose(self, key: ModelKey, cases: Sequence[str], chosen_by: str) -> LockedSet:
        """Lock these cases in place of the newest ones.

        Raises
        ------
        InvalidContent
            One of them is not stored, or is not severe; nothing has changed.
        """
        reader, source = self._open(key)
        wanted = list(dict.fromkeys(cases))
        if not 1 <= len(wanted) <= MAX_CHOSEN or not chosen_by.strip():
            raise InvalidContent(f"Name 1 to {MAX_CHOSEN} cases, and the person who chooses them")
        found = {case.id for case in reader.list_cases(source, wanted)}
        if unknown := [case for case in wanted if case not in found]:
            raise InvalidContent(
                f"No stored case that experts found severe is called {', '.join(unknown[:10])}: "
                f"GET /models/{key}/severe-cases shows how cases are called"
            )
        self._storage.chosen_cases.set(key.path, wanted, chosen_by)
        log.info("severe_cases_chosen", model=str(key), tenant=key.tenant, cases=len(wanted), by=chosen_by)
        return self.locked(key)

    def clear(self, key: ModelKey) -> LockedSet:
        """Lock the newest cases again, in place of those that were chosen."""
        self._open(key)
        if self._storage.chosen_cases.clear(key.path):
            log.info("severe_cases_cleared", model=str(key), tenant=key.tenant)
        return self.locked(key)

    def lock(self, key: ModelKey) -> Sequence[LockedCase] | None:
        """Return the locked cases; None where they cannot be determined, for whatever reason: the log says why.

        There are none where the champion is damaged: it must be replaceable.
        """
        if not registry.get_entry(key.family).severe_cases:
            return ()
        try:
            return self.locked(key).cases or ()
        except Exception as error:  # of whatever kind: what they decide on, a restore say, must stay possible
            is_expected = isinstance(error, MillwrightError)
            log.warning(
                "severe_cases_not_determined",
                model=str(key),
                tenant=key.tenant,
                reason=describe_error(error),
                exc_info=None if is_expected else error,
            )
            return () if isinstance(error, ArtefactCorrupt | NotFound) else None

    def compare(
        self, key: ModelKey, locked: Sequence[LockedCase] | None, version: ModelVersion
    ) -> list[SaferAnswer] | None:
        """Return which of the locked cases a version answers safer than the one that they were locked with.

        None where that cannot be told: what is locked is unknown, or the version is too old to be asked.
        """
        if locked is None:
            return None
        reader = registry.open_severe_cases(key.family)
        if reader is None or not locked:
            return []
        return find_safer_answers(reader, locked, version.folder, self._resources)

    def _open(self, key: ModelKey) -> tuple[SevereCaseReader, TrainingSource]:
        reader = registry.open_severe_cases(key.family)
        if reader is None:
            raise NotFound(f"The family {key.family} has no severe cases")
        data = registry.open_data_source(key.family, self._storage.settings.data_dir, self._storage.database)
        data.check_key(key)
        return reader, data.training_source(key, None)
