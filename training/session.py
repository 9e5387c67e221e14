"""A training, told once, from top to bottom: one session that trains one model or many.

Lock the models, select what is new, back up while the children read, fit and evaluate, verify the saved
models, decide which of them serve, and commit everything at once. The failure of one model of a batch stops no
other; the failure of the only model is the failure of the session.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import structlog

from errors import (
    InvalidContent,
    MillwrightError,
    TrainingBusy,
)
from prediction import registry
from prediction.contract import ModelKey, NewRecords, no_progress
from storage import fault_injection
from storage.container import Storage
from storage.filesystem.checked_write import link_or_copy, write_atomic
from storage.filesystem.files import remove_tree, storage_errors, sync_file_systems, temporary_path
from storage.filesystem.tidying import tidy_up
from storage.journal_steps import DataChanges, JournalEntry, Move, PointerChange
from storage.models.versions import ModelVersion, sync_version
from storage.times import utc_now
from training import results
from training.anchor import find_anchor, list_stored, read_champion
from training.context import (
    MAX_BATCH_MODELS,
    Candidate,
    SessionContext,
    TrainingDeps,
    TrainingOutcome,
    TrainingRequest,
    pending_file,
)
from training.execution.executor import Worker
from training.execution.tasks import (
    ChampionVersion,
    TrainResult,
    TrainTask,
    VerifyTask,
    make_portable,
)
from training.gate import ACCEPT, UNDO, PromotionVerdict, decide_promotion
from training.progress import ProgressWriter
from training.services.sessions import failure_fields, to_millwright_error
from training.session_limit import hold_session_place
from training.severe_checks import build_severe_check, check_severe_cases, warn_of_missing
from training.worker_pool import WorkerPool

log = structlog.get_logger()

_LOCK_SECONDS = 0.1


def run_session(
    request: TrainingRequest, deps: TrainingDeps, on_admitted: Callable[[TrainingOutcome], None]
) -> TrainingOutcome:
    """Run a session from its locks to its end.

    Parameters
    ----------
    on_admitted : callable
        Called once the session has a number and its new records are safe on disk.

    Returns
    -------
    TrainingOutcome
        With the session in whatever state it has ended.

    Raises
    ------
    TrainingBusy
        Another session of this model runs.
    MillwrightError
        As many sessions run as may; the stored data cannot be read; or the commit is durable but unfinished.
    """
    started = time.monotonic()
    with lock_models(request, deps) as (keys, busy), hold_session_place(deps.storage.settings, request):
        if request.kind == "first" and deps.storage.versions.pointer(request.key.path) is not None:
            return TrainingOutcome(None)  # another web worker has trained it since this one looked
        selection, notes = select_new_records(request, deps)
        if request.batch.records and not selection.new:
            forget_pending_records(deps.storage, request.retry_of)
            return results.nothing_new(request, selection, notes)

        session = open_session(request, deps, selection=selection, notes=notes, busy=busy, started=started)
        with record_end(session):
            store_pending_records(session)
            on_admitted(session.outcome())
            open_candidates(session, keys)
            backup = train_candidates(session)
            commit(session, backup)
        return session.outcome()


@contextmanager
def lock_models(
    request: TrainingRequest, deps: TrainingDeps
) -> Iterator[tuple[list[ModelKey], list[ModelKey]]]:
    """Hold the training locks; yield the models that are locked and those that another session trains."""
    storage = deps.storage
    with ExitStack() as held:
        session_lock = storage.training_lock(request.key.path)
        if not session_lock.acquire(_LOCK_SECONDS):
            raise TrainingBusy(model=str(request.key))
        held.callback(session_lock.release)
        storage.folders.check()
        # Whoever held the lock before may have died: finish its commit and correct its session's state.
        storage.journal.finish_pending()
        deps.sessions.mark_interrupted(owned=request.key)
        if not request.is_batch:
            yield [request.key], []
            return
        keys = request.keys
        if len(keys) > MAX_BATCH_MODELS:
            raise InvalidContent(f"At most {MAX_BATCH_MODELS:,} models can be trained in one session")
        locked, busy = [], []
        for key in keys:
            lock = storage.training_lock(key.path)
            if lock.acquire(0.0):
                held.callback(lock.release)
                locked.append(key)
            else:
                busy.append(key)
        yield locked, busy


def select_new_records(request: TrainingRequest, deps: TrainingDeps) -> tuple[NewRecords, list[str]]:
    """Return the records that are not stored yet, and notes on data files that were edited by hand."""
    records = deps.records(request.key.family)
    notes = [note for key in request.keys for note in records.check_data(key)]
    if not request.batch.records:
        return NewRecords(()), notes
    return records.select_new(request.key, request.batch), notes


def open_session(
    request: TrainingRequest,
    deps: TrainingDeps,
    *,
    selection: NewRecords,
    notes: list[str],
    busy: list[ModelKey],
    started: float,
) -> SessionContext:
    """Create the session's row and stage the data files as an undo or an accept will leave them.

    Raises
    ------
    Conflict
        The session to undo has no stored records, or the one to accept none in quarantine.
    """
    storage, key = deps.storage, request.key
    warnings = [*request.batch.warnings, *selection.notes, *notes]
    changes = staged_data = None
    try:
        records = deps.records(key.family)
        if request.undo_of is not None:
            staged_data = storage.journal.staging(f"undo-{request.undo_of}")
            changes = records.plan_removal(key, request.undo_of, staged_data)
            warnings += changes.notes
        elif request.accept_of is not None:
            staged_data = storage.journal.staging(f"accept-{request.accept_of}")
            changes = records.plan_release(key, request.accept_of, staged_data)
            # The child reads the whole folder: the files that do not change are linked beside the others.
            for file in records.data_files(key):
                if file.exists() and not (staged_data / file.name).exists():
                    link_or_copy(file, staged_data / file.name)
        row = storage.sessions.create(
            tenant=key.tenant,
            family=key.family,
            name=key.name,
            kind=request.kind,
            options=dict(request.options),
            records_skipped=selection.skipped,
            warnings=warnings,
            details=results.request_details(request, selection, records.list_quarantined(key)),
        )
    except MillwrightError:
        if staged_data is not None:
            remove_tree(staged_data)
        raise
    pending = pending_file(storage, row.id) if selection.new else None
    return SessionContext(
        request, deps, row, selection, warnings, busy, changes, staged_data, pending, started
    )


def store_pending_records(session: SessionContext) -> None:
    """Make the new records durable: from here on no crash loses them, and /train/retry finds them."""
    fault_injection.fault_point("train.admitted")
    if session.pending is not None:
        with storage_errors(session.pending):
            session.pending.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(list(session.selection.new), ensure_ascii=False)
        write_atomic(session.pending, content.encode())
    fault_injection.fault_point("train.pending_synced")


def open_candidates(session: SessionContext, keys: list[ModelKey]) -> None:
    """Give each model a number, an empty folder and the champion it is compared with."""
    storage, session_id = session.storage, session.row.id
    # A number that has served is not given again, even where its files were deleted.
    served = storage.champions.history.highest_versions([key.path for key in keys])
    for key in keys:
        champion, damage = read_champion(storage, key)
        if damage:
            note_damaged_champion(session, key, damage)
        session.candidates.append(
            Candidate(
                key,
                number=max(storage.versions.next_number(key.path), served.get(key.path, 0) + 1),
                champion=champion,
                anchor=champion and find_anchor(storage, champion, list_stored(storage, key), utc_now()),
                is_first=storage.versions.pointer(key.path) is None,
                staging=storage.versions.staging(key.path, session_id),
                probe=temporary_path(storage.settings.run_dir, label=f"probe-{session_id}-{key.name}"),
                champion_error=damage,
            )
        )


def note_damaged_champion(session: SessionContext, key: ModelKey, damage: str) -> None:
    """Say in the session and in health that a champion cannot be read; a promotion ends that."""
    session.warnings.append(f"The serving model could not be compared with: {damage}")
    with suppress(MillwrightError):
        session.storage.champions.report_damage(key.path, damage)


def train_candidates(session: SessionContext) -> str:
    """Train, judge and verify the candidates in child processes; return the name of the backup made meanwhile."""
    is_batch = session.request.is_batch
    with ProgressWriter(session.storage, session.row.id) as progress:

        def train(worker: Worker, candidate: Candidate) -> None:
            # The stages of one model are the progress of the session; of many, the models are.
            result = worker.run(training_task(session, candidate), no_progress if is_batch else progress)
            session.warnings += result.warnings
            candidate.verdict = judge(session, candidate, result)
            seal(session, candidate, result)

        def verify(worker: Worker, candidate: Candidate) -> None:
            candidate.deviation = worker.run(verification_task(session, candidate))

        if is_batch:
            progress("fit")
        with WorkerPool("trainer", train, session, progress) as training:
            backup = back_up(session)
            training.join()

        progress("verify")
        with WorkerPool("verifier", verify, session, progress) as verification:
            make_durable(session)
            verification.join()
    return backup


def training_task(session: SessionContext, candidate: Candidate) -> TrainTask:
    """Return the task that trains a candidate."""
    storage, key = session.storage, candidate.key
    source = session.deps.source(key.family).training_source(key, session.pending, session.staged_data)
    database_url = storage.database.engine.url.render_as_string(hide_password=False)
    return TrainTask(
        family=registry.get_entry(key.family).family,
        source=make_portable(source, storage.settings.home, database_url),
        options=dict(session.request.options),
        staging=session.relative(candidate.staging),
        probe=session.relative(candidate.probe),
        champion=champion_version(session, candidate.champion),
        anchor=champion_version(session, candidate.anchor),
        severe=build_severe_check(session, key),
    )


def champion_version(session: SessionContext, version: ModelVersion | None) -> ChampionVersion | None:
    """Return a version as tasks name it."""
    if version is None:
        return None
    return ChampionVersion(version.number, session.relative(version.folder), version.manifest)


def verification_task(session: SessionContext, candidate: Candidate) -> VerifyTask:
    """Return the task that compares the saved candidate with the trained one, in a fresh process."""
    return VerifyTask(
        predictor=registry.get_entry(candidate.key.family).predictor,
        folder=session.relative(candidate.staging),
        probe=session.relative(candidate.probe),
    )


def back_up(session: SessionContext) -> str:
    """Back up data and models while the children read them; return the name of the backup."""
    keys, request = [candidate.key for candidate in session.candidates], session.request
    what = (
        f"fleet of {len(keys)} {request.key.family} models"
        if request.is_batch
        else f"{request.kind} {request.key}"
    )
    with session.storage.journal.hold_store_lock():
        reason = f"before session {session.row.id} ({what})"
        return session.deps.backups.snapshot(keys, reason, session_id=session.row.id).name


def judge(session: SessionContext, candidate: Candidate, result: TrainResult) -> PromotionVerdict:
    """Decide whether a candidate is to serve."""
    if result.champion_error and candidate.champion is not None:
        candidate.champion_error = (
            f"a file of version {candidate.champion.number} cannot be read ({result.champion_error})"
        )
        note_damaged_champion(session, candidate.key, candidate.champion_error)
    undone, champion = session.request.undo_of, candidate.champion
    last_learnt = champion.manifest["session_id"] if champion else 0
    override = ACCEPT if session.request.accept_of is not None else None
    if undone is not None and (champion is None or last_learnt >= undone):
        # A champion that learnt from records which are taken out now must go, however good it is.
        override = UNDO
    return decide_promotion(
        result.scores,
        result.champion_scores,
        result.rules,
        is_first=candidate.is_first,
        impact=result.impact,
        sessions=unlearnt_sessions(session, last_learnt) if result.impact else (),
        override=override,
        further_checks=check_severe_cases(
            result.severe, session.request, candidate.key, candidate.number, session.row.id
        ),
        is_unreadable=bool(candidate.champion_error),
    )


def unlearnt_sessions(session: SessionContext, last_learnt: int) -> list[int]:
    """Return the sessions whose records this model learnt and the champion did not; this one is the last."""
    key = session.request.key
    batches = session.deps.records(key.family).list_quarantined(key)
    later = [row for row in list_stored(session.storage, key) if row.id > last_learnt]
    undone = {row.undo_of for row in later}
    stored = {row.id for row in later if row.state == "rejected" and row.records_added}
    quarantined = {batch.session_id for batch in batches}
    return sorted(stored - undone - quarantined | {session.row.id})


def seal(session: SessionContext, candidate: Candidate, result: TrainResult) -> None:
    """Write the manifest of a candidate and keep what the session reports of it."""
    manifest = results.manifest(session, candidate, result)
    session.storage.versions.write_manifest(candidate.staging, manifest, durable=False)
    candidate.metrics = manifest["metrics"]
    session.warnings += warn_of_missing(result.severe, candidate.key)
    if result.champion_scores is not None:
        candidate.champion_headline = result.champion_scores.headline


def make_durable(session: SessionContext) -> None:
    """Sync the candidates' files while the children verify them."""
    stagings = [candidate.staging for candidate in session.ready]
    if session.request.is_batch:
        # One sync of the file system is cheaper than one of each of thousands of files.
        sync_file_systems(stagings)
    else:
        for staging in stagings:
            sync_version(staging, session.storage.versions.models_dir)


def commit(session: SessionContext, backup: str) -> None:
    """Store data, versions, live pointers and the end of the session: all of it or nothing."""
    storage, request, key = session.storage, session.request, session.request.key
    if not session.ready:
        raise results.failure(session)
    records = session.deps.records(key.family)
    changes = session.changes or DataChanges()
    if results.is_release_refused(session):
        changes = DataChanges()
    if session.selection.new:
        quarantined = results.is_quarantined(session)
        changes = records.plan_append(key, session.selection.new, session.row.id, quarantined)
    moves = [
        Move(
            session.relative(candidate.staging),
            session.relative(storage.versions.folder(candidate.key.path, candidate.number)),
        )
        for candidate in session.ready
    ]
    promoted = [candidate for candidate in session.ready if candidate.verdict and candidate.verdict.promoted]
    entry = JournalEntry(
        kind="train" if session.changes is None else request.kind,
        session_id=session.row.id,
        moves=[*changes.moves, *moves],
        appends=changes.appends,
        pointers=[PointerChange(candidate.key.path, candidate.number) for candidate in promoted],
        result=results.session_result(session, backup),
    )
    with storage.journal.hold_store_lock():
        session.check()
        storage.journal.commit(entry)
    for candidate in session.ready:
        with tidy_up("note the data files", session_id=session.row.id, model=str(candidate.key)):
            records.on_commit(candidate.key)
    forget_pending_records(storage, session.row.id)


@contextmanager
def record_end(session: SessionContext) -> Iterator[None]:
    """Record how the session ended, and remove its temporary files before anybody can see that it ended.

    A commit that the journal has made durable cannot fail any more: it is finished here or, where the disk
    still refuses, by whoever takes the store lock next. Where the end cannot be recorded, the error is raised,
    because nobody may wait for the row.
    """
    try:
        yield
    except Exception as error:
        failure = to_millwright_error(error)
        if failure.facts.get("committed"):
            finish_commit(session, failure)
        else:
            session.remove_files()
            record_failure(session, failure)
    else:
        with tidy_up("remove the session's files", session_id=session.row.id):
            session.remove_files()


def finish_commit(session: SessionContext, failure: MillwrightError) -> None:
    """Try once more to finish a durable commit; the journal records the end of the session."""
    log.warning("commit_unfinished", session_id=session.row.id, reason=failure.message)
    try:
        session.storage.journal.finish_pending()
    except MillwrightError as refusal:
        session.remove_files(keep_staged=True)
        raise failure from refusal
    with tidy_up("remove the session's files", session_id=session.row.id):
        session.remove_files()
    forget_pending_records(session.storage, session.row.id)


def record_failure(session: SessionContext, failure: MillwrightError) -> None:
    """Write the state that the failure stands for, and its message, into the session's row."""
    session_id, state = session.row.id, failure.session_state
    log.warning(
        "session_ended", session_id=session_id, state=state, code=failure.code, reason=failure.message
    )
    if state == "cancelled" and session.pending is not None:
        with suppress(OSError):  # nobody retries a cancelled session
            session.pending.unlink(missing_ok=True)
    fields, seconds = failure_fields(failure), round(time.monotonic() - session.started, 3)
    fields["training_time_seconds"], fields["warnings"] = seconds, session.warnings
    try:
        session.storage.sessions.finish(session_id, state, **fields)
    except MillwrightError as refusal:  # whoever reads the row next finds the lock free, and corrects it
        log.error("end_not_recorded", session_id=session_id, reason=refusal.message)
        raise failure from refusal


def forget_pending_records(storage: Storage, session_id: int | None) -> None:
    """Remove the pending records of a session, and of those that it tried again: they are stored now."""
    while session_id is not None:
        earlier = None
        with tidy_up("find the session that was tried again", session_id=session_id):
            earlier = storage.sessions.get(session_id).details.get("retry_of")
        with tidy_up("remove pending records", session_id=session_id):
            remove_tree(pending_file(storage, session_id))
        session_id = earlier
