"""Decide whether a version may serve that answers locked severe cases safer than the serving one."""

from __future__ import annotations

from prediction import registry
from prediction.contract import ModelKey
from prediction.severe_cases import describe_safer
from training.context import SessionContext, TrainingRequest
from training.execution.tasks import SevereCheck, SevereResult, make_portable
from training.gate import SEVERE_CASES, GateCheck


def build_severe_check(session: SessionContext, key: ModelKey) -> SevereCheck | None:
    """Return the severe cases of a model as tasks name them; None for a family without any."""
    storage, reader = session.storage, registry.get_entry(key.family).severe_cases
    if not reader:
        return None
    source = session.deps.source(key.family).training_source(key, None)
    chosen = storage.chosen_cases.get(key.path)
    database_url = storage.database.engine.url.render_as_string(hide_password=False)
    portable = make_portable(source, storage.settings.home, database_url)
    return SevereCheck(reader, portable, None if chosen is None else chosen.cases)


def warn_of_missing(result: SevereResult | None, key: ModelKey) -> list[str]:
    """Return a warning where the plant has chosen cases that cannot be guarded."""
    if result is None or not result.missing:
        return []
    return [
        f"Of the severe cases chosen for {key}, {', '.join(result.missing)} are not stored as severe any more and are "
        f"not guarded: PUT /models/{key}/severe-cases chooses others"
    ]


def check_severe_cases(
    result: SevereResult | None, request: TrainingRequest, key: ModelKey, number: int, session_id: int
) -> list[GateCheck]:
    """Return the check of the severe cases; none where nothing is locked.

    An undo is never held back: it takes out what made answers as severe as they are. It names what it changes.
    """
    if result is None or not result.locked:
        return []
    if not result.safer:
        return [GateCheck(SEVERE_CASES, True, "No locked severe case is answered safer.")]
    finding = describe_safer(result.safer)
    if request.undo_of is not None:
        return [GateCheck(SEVERE_CASES, True, f"{finding}; this follows from the undo.")]
    if request.accepted_by is not None:
        return [GateCheck(SEVERE_CASES, True, f"{finding}; {request.accepted_by} accepts it.")]
    calls = f"POST /models/{key}/versions/{number}/promote"
    quarantined = request.accept_of or (session_id if request.batch.records else None)
    if quarantined is not None:
        calls += f" or POST /train/sessions/{quarantined}/accept"
    return [
        GateCheck(
            SEVERE_CASES, False, f"{finding}. A person must put their name to that: {calls} with accepted_by."
        )
    ]
