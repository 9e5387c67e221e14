"""Many models of one family in one session: one backup, one commit, an item a model.

What a session does for one model is done here for each; the file system is synced once for all versions, and
one model's failure stops no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from errors import InvalidContent, MillwrightError, TrainingBusy, TrainingFailed
from prediction.contract import JSON, ModelKey, NewRecords, Progress
from storage.filesystem.files import remove_tree, sync_file_systems
from storage.filesystem.locks import max_locks, raise_lock_limit, training_lock
from storage.journal_steps import JournalEntry, Move, PointerChange
from training.context import (
    SessionContext,
    TrainingDeps,
    TrainingOutcome,
    TrainingRequest,
    begin_work,
    item_work,
)
from training.execution.child_process import deserialize_error
from training.execution.ipc import nan_to_none
from training.gate import PromotionVerdict
from training.services.sessions import ProgressWriter
from training.session import (
    below_home,
    end_recorded,
    judged,
    model_locked,
    seal,
    tidy,
    training_task,
    verification_task,
    without_losses,
)

BATCH_NAME = "fleet"
"""The name under which a fleet's session is listed; no model has it."""

MAX_BATCH_MODELS = 20_000
"""In one session, which tells of each in its row of the database."""
_HAND = 12


@dataclass(frozen=True)
class BatchRequest:
    """An order for many models.

    Parameters
    ----------
    names : sequence of str
        The models, each at most once.
    options : mapping
        Validated options, the same for all.
    jobs : int
        Child processes that train at the same time.
    retry_of : int, optional
        The session whose models are trained again.
    why : sequence of str
        Why the schedule ordered it.
    """

    family: str
    tenant: str
    names: Sequence[str]
    options: JSON
    jobs: int = 1
    retry_of: int | None = None
    why: Sequence[str] = ()

    @property
    def key(self) -> ModelKey:
        """What the session is listed as."""
        return ModelKey(self.family, BATCH_NAME, self.tenant)


@dataclass
class _Item:
    """One model on its way; ``error`` says why it got no version."""

    work: SessionContext
    trained: JSON = field(default_factory=dict)
    verdict: PromotionVerdict | None = None
    error: JSON | None = None


def run_batch(
    fleet: BatchRequest, shop: TrainingDeps, admitted: Callable[[TrainingOutcome], None]
) -> TrainingOutcome:
    """Run a fleet's session from its locks to its end.

    Raises
    ------
    TrainingBusy
        Another fleet of this family runs.
    InvalidContent
        More models than this machine can hold locks for.
    """
    began = time.monotonic()
    with model_locked(fleet.key, shop), _locks(fleet, shop) as (free, busy):
        order = TrainingRequest(
            fleet.key, BATCH_NAME, fleet.options, retry_of=fleet.retry_of, models=fleet.names, why=fleet.why
        )
        work = begin_work(order, shop, NewRecords(()), [], began)
        items: list[_Item] = []
        try:
            with end_recorded(work), _tidied(items):
                admitted(work.outcome())
                items.extend(_item(fleet, key, work, began) for key in free)
                backup = _back_up(work, items)
                with ProgressWriter(shop.storage, work.session.id) as announce:
                    _train(items, fleet.jobs, work, announce)
                    _verify(items, fleet.jobs, work, announce)
                _commit(work, items, busy, backup)
        finally:
            _clear(work)
        return work.outcome()


@contextmanager
def _locks(fleet: BatchRequest, shop: TrainingDeps) -> Iterator[tuple[list[ModelKey], list[ModelKey]]]:
    """Hold the training locks of all models that are free, in a fixed order; name those that are not."""
    keys = sorted(ModelKey(fleet.family, name, fleet.tenant) for name in set(fleet.names))
    if len(keys) > most_models():
        raise InvalidContent(f"At most {most_models():,} models can be trained in one session")
    raise_lock_limit(len(keys))
    with ExitStack() as held:
        free, busy = [], []
        for key in keys:
            lock = training_lock(shop.storage.settings.run_dir, key.path)
            if lock.acquire(0.0):
                held.callback(lock.release)
                free.append(key)
            else:
                busy.append(key)
        yield free, busy


def most_models() -> int:
    """How many models one session can train: it holds an open file, their lock, for each."""
    return int(min(MAX_BATCH_MODELS, max_locks()))


def _item(fleet: BatchRequest, key: ModelKey, work: SessionContext, began: float) -> _Item:
    return _Item(item_work(TrainingRequest(key, BATCH_NAME, fleet.options), work.shop, work.session, began))


def _back_up(work: SessionContext, items: Sequence[_Item]) -> str:
    storage = work.storage
    paths = [item.work.order.key.path for item in items]
    with storage.journal.hold_store_lock():
        reason = f"before session {work.session.id} (fleet of {len(items)} {work.order.key.family} models)"
        return storage.backups.create(reason, [], paths, session_id=work.session.id).name


def _train(items: Sequence[_Item], jobs: int, work: SessionContext, announce: Progress) -> None:
    """Train in child processes; each model is judged and written down as it arrives."""
    announce("fit")
    ready = [item for item in items if _described(item)]

    def arrived(item: _Item, result: JSON) -> None:
        verdict = judged(item.work, result)
        seal(item.work, result, verdict, durable=False)
        item.trained, item.verdict = {"scores": without_losses(result["scores"])}, verdict

    _Crew("train", work, announce, arrived).serve(ready, jobs)


def _described(item: _Item) -> bool:
    """Whether the model's task can be written down; where not, the item knows why."""
    try:
        item.trained = training_task(item.work)
    except MillwrightError as error:
        item.error = error.body()
    return item.error is None


def _verify(items: Sequence[_Item], jobs: int, work: SessionContext, announce: Progress) -> None:
    """Ask every saved model, in fresh processes, what the trained one was asked."""
    announce("verify")

    def arrived(item: _Item, result: JSON) -> None:
        item.trained["parity_deviation"] = result["deviation"]

    _Crew("verify", work, announce, arrived).serve([item for item in items if item.verdict], jobs)


def partition(items: Sequence[_Item], jobs: int) -> list[list[_Item]]:
    """At most ``jobs`` shares of about the same work, none of them empty.

    Neighbours in name often read the same data and differ in cost: they stay together in hands of twelve, or
    fewer where there would not be enough hands to share out evenly.
    """
    size = max(1, min(_HAND, len(items) // (4 * jobs)))
    hands = [items[start : start + size] for start in range(0, len(items), size)]
    return [[item for hand in hands[start::jobs] for item in hand] for start in range(min(jobs, len(hands)))]


@dataclass(frozen=True)
class _Crew:
    """The child processes that do one task for all models of a fleet.

    Parameters
    ----------
    task : str
        ``train`` or ``verify``.
    arrived : callable
        Told each item with the child's result.
    """

    task: str
    work: SessionContext
    announce: Progress
    arrived: Callable[[_Item, JSON], None]
    done: list[_Item] = field(default_factory=list)

    def serve(self, items: Sequence[_Item], jobs: int) -> None:
        """Deal the items out to children, a few neighbours at a time, and take each one's end as it comes."""
        shares = partition(items, jobs)
        with ThreadPoolExecutor(max(1, len(shares)), thread_name_prefix=f"fleet-{self.task}") as threads:
            ends = [threads.submit(self._share, share, len(items)) for share in shares]
            for end in ends:
                end.result()

    def _share(self, share: Sequence[_Item], of: int) -> None:
        role = "trainer" if self.task == "train" else "verifier"
        asked = [item.trained if self.task == "train" else verification_task(item.work) for item in share]

        def told(stage: str, **message: Any) -> None:
            if stage == "item":
                self._take(share[message["number"]], message)
                self.announce(self.task, done=len(self.done), of=of)

        task = {"task": f"{self.task}_fleet", "items": asked}
        with self.work.shop.executor.start(role, task, self.work.check) as job:
            job.result(told)

    def _take(self, item: _Item, message: JSON) -> None:
        self.done.append(item)
        try:
            if "failed" in message:
                item.error, item.verdict = deserialize_error(message["failed"]).body(), None
            else:
                self.arrived(item, message["done"])
        except MillwrightError as error:
            item.error, item.verdict = error.body(), None


def _commit(work: SessionContext, items: Sequence[_Item], busy: Sequence[ModelKey], backup: str) -> None:
    """One journal entry for every version that was made; a session that made none has failed."""
    made = [item for item in items if item.verdict is not None]
    told = [_told(item) for item in items] + [_told_busy(key) for key in busy]
    if not made:
        first = told[0]["error"] if told else "no models were named"
        raise TrainingFailed(f"Training failed: none of {len(told)} models was trained: {first}", items=told)
    sync_file_systems(item.work.staging for item in made)
    with work.storage.journal.hold_store_lock():
        work.check()
        work.storage.journal.commit(
            JournalEntry(
                kind="train",
                session_id=work.session.id,
                moves=[_move(item.work) for item in made],
                pointers=[_pointer(item.work) for item in made if item.verdict and item.verdict.promoted],
                result=_result(work, made, told, backup),
            )
        )


def _move(work: SessionContext) -> Move:
    target = work.storage.versions.folder(work.order.key.path, work.number)
    return Move(below_home(work, work.staging), below_home(work, target))


def _pointer(work: SessionContext) -> PointerChange:
    return PointerChange(work.order.key.path, work.number)


def _told(item: _Item) -> JSON:
    """What the session says of one model."""
    name = item.work.order.key.name
    if item.verdict is None:
        error = item.error or TrainingFailed("Training failed").body()
        return {"name": name, "state": "failed", "error": error["error"], "code": error["code"]}
    return {
        "name": name,
        "state": "completed" if item.verdict.promoted else "rejected",
        "version": item.work.number,
        "reasons": item.verdict.reasons,
        "metrics": nan_to_none(
            {**item.trained["scores"], "parity_deviation": item.trained["parity_deviation"]}
        ),
    }


def _told_busy(key: ModelKey) -> JSON:
    busy = TrainingBusy()
    return {"name": key.name, "state": "failed", "error": busy.message, "code": busy.code}


def _result(work: SessionContext, made: Sequence[_Item], told: Sequence[JSON], backup: str) -> JSON:
    promoted = [item for item in told if item["state"] == "completed"]
    weak = sum(not item["metrics"]["beats_baselines"] for item in promoted)
    counts = {
        "models": len(told),
        "trained": len(made),
        "promoted": len(promoted),
        "no_better_than_baselines": weak,
        "failed": len(told) - len(made),
    }
    doubt = f"; {weak} of them no better than the simple rules beside them" if weak else ""
    return {
        "state": "completed" if promoted else "rejected",
        "promoted": bool(promoted),
        "message": f"{len(made)} of {len(told)} models trained, {len(promoted)} promoted{doubt}",
        "metrics": counts,
        "details": {**work.session.details, **counts, "items": list(told)},
        "backup": f"model_backups/{backup}",
        "training_time_seconds": round(time.monotonic() - work.began, 3),
        "progress_pct": 100,
    }


@contextmanager
def _tidied(items: Sequence[_Item]) -> Iterator[None]:
    """In the end nothing of an item lies about, but for what a durable commit has still to move."""
    to_move = False
    try:
        yield
    except MillwrightError as error:
        to_move = bool(error.facts.get("committed"))
        raise
    finally:
        for item in items:
            if to_move and item.verdict is not None:
                with suppress(MillwrightError):
                    remove_tree(item.work.probe)
            else:
                _clear(item.work)


def _clear(work: SessionContext) -> None:
    """Nothing of a model lies about; a folder that it never filled goes, too."""
    tidy(work)
    with suppress(OSError):
        work.staging.parent.rmdir()
