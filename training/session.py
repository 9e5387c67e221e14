"""The life of a training session, told once, from top to bottom."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import structlog

from errors import Interrupted, MillwrightError, TrainingBusy, TrainingCancelled, TrainingFailed
from prediction import registry
from prediction.contract import (
    JSON,
    UNREPORTED_FIELDS,
    DataImpact,
    ModelKey,
    NewRecords,
    Scores,
    no_progress,
)
from storage import fault_injection
from storage.db.sessions import STORED_STATES
from storage.filesystem.files import remove_tree, storage_errors, write_atomic
from storage.journal_steps import JournalEntry, Move, PointerChange
from training.context import (
    SessionContext,
    TrainingDeps,
    TrainingOutcome,
    TrainingRequest,
    begin_work,
    cancel_flag,
    pending_file,
)
from training.execution.ipc import nan_to_none
from training.gate import PromotionRules, PromotionVerdict, decide_promotion
from training.services.sessions import ProgressWriter, failure_fields

log = structlog.get_logger()

_PATIENCE_S = 0.1
_LOOK_BACK = 1000
"""Sessions among which those are looked for whose records no champion has learnt."""


def run_session(
    order: TrainingRequest, shop: TrainingDeps, admitted: Callable[[TrainingOutcome], None]
) -> TrainingOutcome:
    """Run one session from its lock to its end.

    Parameters
    ----------
    admitted : callable
        Told once the session has a number and its new records are safe on disk.

    Returns
    -------
    Outcome
        With the session in whatever state it has ended.

    Raises
    ------
    TrainingBusy
        Another session of this model runs.
    MillwrightError
        The stored data cannot be read, and there is no session; or the commit is durable but unfinished.
    """
    began = time.monotonic()
    with model_locked(order.key, shop):
        selection, notes = _select(order, shop)
        if order.batch.records and not selection.new:
            _forget_records(shop, order.retry_of)
            return _nothing_new(order, selection, notes)

        work = begin_work(order, shop, selection, notes, began)
        with end_recorded(work):
            _keep_pending(work)
            admitted(work.outcome())

            with ProgressWriter(shop.storage, work.session.id) as announce:
                with shop.executor.start("trainer", training_task(work), work.check) as job:
                    backup = _back_up(work)
                    trained = job.result(announce)

                with shop.executor.start("verifier", verification_task(work), work.check) as job:
                    announce("verify")
                    verdict = judged(work, trained)
                    seal(work, trained, verdict)
                    deviation = job.result(no_progress)["deviation"]

            with shop.storage.journal.hold_store_lock():
                work.check()
                shop.storage.journal.commit(_entry(work, trained, verdict, backup, deviation))
            work.intake.on_commit(order.key)
            _forget_records(shop, work.session.id)
        return work.outcome()


@contextmanager
def model_locked(key: ModelKey, shop: TrainingDeps) -> Iterator[None]:
    """Hold the model's training lock, with the truth told about whoever held it before."""
    lock = shop.storage.training_lock(key.path)
    if not lock.acquire(_PATIENCE_S):
        raise TrainingBusy(model=str(key))
    try:
        shop.storage.journal.finish_pending()
        shop.sessions.sweep(mine=key)
        yield
    finally:
        lock.release()


def _select(order: TrainingRequest, shop: TrainingDeps) -> tuple[NewRecords, list[str]]:
    """What of the order is new, and what was noticed about the stored data."""
    intake = shop.intake(order.key)
    notes = intake.check_data(order.key)
    return intake.select_new(order.key, order.batch), notes


def _nothing_new(order: TrainingRequest, selection: NewRecords, notes: list[str]) -> TrainingOutcome:
    warnings, ignored = [*order.batch.warnings, *notes], list(order.batch.ignored_fields)
    return TrainingOutcome(None, selection.skipped, selection.corrections, warnings, ignored)


def _keep_pending(work: SessionContext) -> None:
    """Make the new records durable: from here on a crash loses none, and /retry finds them."""
    fault_injection.fault_point("train.admitted")
    if work.pending is not None:
        with storage_errors(work.pending):
            work.pending.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(work.pending, json.dumps(list(work.selection.new), ensure_ascii=False).encode())
    fault_injection.fault_point("train.pending_synced")


def training_task(work: SessionContext) -> JSON:
    """The task of the child that trains."""
    champion = work.champion
    return {
        "task": "train",
        "family": registry.get_entry(work.order.key.family).family,
        "source": work.intake.training_source(work.order.key, work.pending, work.staged),
        "options": dict(work.order.options),
        "staging": str(work.staging),
        "probe": str(work.probe),
        "champion": champion
        and {"number": champion.number, "folder": str(champion.folder), "manifest": champion.manifest},
        "fault_point": work.storage.settings.fault_point,
    }


def _back_up(work: SessionContext) -> str:
    """Back up data and models while the child reads them; the name of the backup."""
    key, storage = work.order.key, work.storage
    with storage.journal.hold_store_lock():
        backup = storage.backups.create(
            f"before session {work.session.id} ({work.order.kind} {key})",
            work.intake.data_files(key),
            [key.path],
            session_id=work.session.id,
        )
    return backup.name


def verification_task(work: SessionContext) -> JSON:
    """The task of the fresh process that asks the saved model what the trained one was asked."""
    return {
        "task": "verify",
        "predictor": registry.get_entry(work.order.key.family).predictor,
        "folder": str(work.staging),
        "probe": str(work.probe),
        "fault_point": work.storage.settings.fault_point,
    }


def judged(work: SessionContext, trained: JSON) -> PromotionVerdict:
    """The gate's verdict on what the child made."""
    champion, harm = trained["champion_scores"], trained["harm"]
    return decide_promotion(
        Scores(**trained["scores"]),
        Scores(**champion) if champion else None,
        PromotionRules.from_dict(trained["rules"]),
        first=work.first,
        harm=DataImpact(**harm) if harm else None,
        sessions=_unvetted_sessions(work) if harm else (),
        binding=not _champion_learnt_what_was_undone(work),
    )


def _unvetted_sessions(work: SessionContext) -> list[int]:
    """Sessions whose stored records the champion has not learnt, oldest first; this one is the last."""
    key, since = work.order.key, work.champion.manifest["session_id"] if work.champion else 0
    newest = work.storage.sessions.list(key.tenant, key.family, key.name, limit=_LOOK_BACK)
    later = [session for session in newest if session.id > since and session.state in STORED_STATES]
    taken_out = {session.details.get("undo_of") for session in later}
    kept = {session.id for session in later if session.state == "rejected" and session.records_added}
    return sorted(kept - taken_out | {work.session.id})


def _champion_learnt_what_was_undone(work: SessionContext) -> bool:
    undone, champion = work.order.undo_of, work.champion
    return undone is not None and (champion is None or champion.manifest["session_id"] >= undone)


def seal(work: SessionContext, trained: JSON, verdict: PromotionVerdict, *, durable: bool = True) -> None:
    """Write the version's manifest and make its files durable, while the verifier asks its questions.

    A fleet makes the files of all its versions durable together, and says so with ``durable``.
    """
    told = ("certificate", "fingerprint", "rows", "facts", "libraries", "seconds")
    facts = {
        "model": asdict(work.order.key),
        "version": work.number,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "session_id": work.session.id,
        "kind": work.order.kind,
        "parent": work.champion.number if work.champion else None,
        "options": dict(work.order.options),
        "headline": trained["rules"]["headline"],
        "metrics": without_losses(trained["scores"]),
        "champion_metrics": without_losses(trained["champion_scores"]),
        "verdict": verdict.to_dict(),
        "figures": trained["scores"]["figures"],
        **{name: trained[name] for name in told},
    }
    work.storage.versions.write_manifest(work.staging, nan_to_none(facts), durable=durable)


def _entry(
    work: SessionContext, trained: JSON, verdict: PromotionVerdict, backup: str, deviation: float
) -> JournalEntry:
    """The journal entry: data, version, pointer and the end of the session, all of it or nothing."""
    key, storage = work.order.key, work.storage
    changes = work.removal or work.intake.plan_append(key, work.selection.new, work.session.id)
    target = storage.versions.folder(key.path, work.number)
    version = Move(below_home(work, work.staging), below_home(work, target))
    return JournalEntry(
        kind="train" if work.order.undo_of is None else "undo",
        session_id=work.session.id,
        moves=[*changes.moves, version],
        appends=changes.appends,
        pointers=[PointerChange(key.path, work.number)] if verdict.promoted else [],
        result=_result(work, trained, verdict, backup, deviation),
    )


def _result(
    work: SessionContext, trained: JSON, verdict: PromotionVerdict, backup: str, deviation: float
) -> JSON:
    """What the session's row says in the end."""
    champion = trained["champion_scores"]
    metrics = {
        **(without_losses(trained["scores"]) or {}),
        "champion": champion and champion["headline"],
        "parity_deviation": deviation,
    }
    return {
        "state": "completed" if verdict.promoted else "rejected",
        "promoted": verdict.promoted,
        "reasons": verdict.reasons,
        "message": _message(work, verdict),
        "version": work.number,
        "metrics": nan_to_none(metrics),
        "records_added": len(work.selection.new),
        "corrections": work.selection.corrections,
        "backup": f"model_backups/{backup}",
        "training_time_seconds": round(time.monotonic() - work.began, 3),
        "progress_pct": 100,
    }


def _message(work: SessionContext, verdict: PromotionVerdict) -> str:
    if work.order.undo_of is not None:
        return f"The records of session {work.order.undo_of} were taken out; the new model has not seen them"
    if verdict.promoted:
        return "Incremental training completed successfully"
    return "Training completed, but the new model was not promoted; the records are kept"


@contextmanager
def end_recorded(work: SessionContext) -> Iterator[None]:
    """See to it that the session ends in exactly one state, and that nothing of it lies about.

    What the journal has made durable cannot fail any more: it is finished and recorded at once or, where the
    disk still refuses, by whoever takes the store lock next; what is staged stays. Where the end cannot be
    recorded, the error is raised: nobody may wait for the row.
    """
    try:
        yield
    except Exception as error:
        known = _known(error)
        if known.facts.get("committed"):
            _finish_commit(work, known)
        else:
            tidy(work)
            _record_failure(work, known)
    tidy(work)


def _finish_commit(work: SessionContext, error: MillwrightError) -> None:
    """Try once more; the journal records the session's end itself."""
    log.warning("commit_unfinished", session_id=work.session.id, reason=error.message)
    try:
        work.storage.journal.finish_pending()
    except MillwrightError as refusal:
        raise error from refusal
    _forget_records(work.shop, work.session.id)


def _record_failure(work: SessionContext, error: MillwrightError) -> None:
    state = {TrainingCancelled: "cancelled", Interrupted: "interrupted"}.get(type(error), "failed")
    log.warning("session_ended", session_id=work.session.id, state=state, code=error.code, why=error.message)
    seconds = round(time.monotonic() - work.began, 3)
    if state == "cancelled" and work.pending is not None:  # those of a session it tried again stay
        with suppress(OSError):
            work.pending.unlink(missing_ok=True)
    try:
        work.storage.sessions.finish(
            work.session.id, state, training_time_seconds=seconds, **failure_fields(error)
        )
    except MillwrightError as refusal:  # whoever reads the row next finds the lock free, and mends it
        log.error("end_not_recorded", session_id=work.session.id, reason=refusal.message)
        raise error from refusal


def _known(error: Exception) -> MillwrightError:
    """Any failure as one that has a sentence for a person."""
    if isinstance(error, MillwrightError):
        return error
    log.exception("session_crashed")
    try:
        with storage_errors("The session's files"):
            raise error
    except MillwrightError as known:
        return known
    except Exception:
        return TrainingFailed(f"Training failed: {type(error).__name__}: {error}. Nothing has changed.")


def tidy(work: SessionContext) -> None:
    """Remove what a session leaves lying about; what cannot be removed now is swept at the next start."""
    for left in (work.staging, work.staged, work.probe, cancel_flag(work.storage, work.session.id)):
        if left is not None:
            with suppress(MillwrightError):
                remove_tree(left)


def _forget_records(shop: TrainingDeps, number: int | None) -> None:
    """Records are stored: what waited for this session, and for those it tries again, is not needed."""
    with suppress(MillwrightError):
        while number is not None:
            remove_tree(pending_file(shop.storage, number))
            number = shop.storage.sessions.get(number).details.get("retry_of")


def below_home(work: SessionContext, path: Path) -> str:
    """The path as journal entries have it."""
    return path.relative_to(work.storage.settings.home).as_posix()


def without_losses(scores: JSON | None) -> JSON | None:
    """Scores as they are kept."""
    return scores and {name: value for name, value in scores.items() if name not in UNREPORTED_FIELDS}
