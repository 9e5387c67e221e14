"""The trainings of all families: what ran, what runs, how it ended and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import structlog
from flask import render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from api.http.context import identity, manager
from api.http.resource import Query
from api.http.schemas import PageQuery
from api.models.request_bodies import AcceptRequest
from dashboard.figures import Figure, build_history_figure
from dashboard.resource import FIGURE, FORM, HTML, REDIRECT, Pages, read_form, render_charts, see_other
from errors import MillwrightError, NotFound
from prediction import registry
from prediction.model_files import TRAINING_HISTORY
from storage.db.sessions import Session
from storage.filesystem.checksummed_json import Document
from training.services.sessions import model_key
from training_manager import TrainingOutcome

EPOCH: Final = "epoch"
MAX_EVENTS: Final = 50
MAX_EPOCHS: Final = 10_000
MAX_DECISIONS: Final = 20
# The facts of an epoch that each chart draws, with their names.
LINES: Final[Mapping[str, Mapping[str, str]]] = {
    "losses": {"train_loss": "training loss", "val_loss": "validation loss"},
    "accuracy": {"train_accuracy": "training accuracy", "val_accuracy": "validation accuracy"},
}
# Where the result of a training is looked at; other families have the page of their versions.
MODEL_PAGES: Final[Mapping[str, str]] = {
    "forecasting": "/forecasting/models/{name}",
    "damage": "/damage/models/{name}",
}

log = structlog.get_logger()

trainings = Pages("trainings", "Trainings, live and past.")


@trainings.operation("/trainings", HTML, query=PageQuery)
def list_trainings(query: Query) -> str:
    """List the sessions of all families, the newest first."""
    limit = query["limit"]
    rows = manager().sessions.list_summaries(identity().tenant, limit=limit + 1, cursor=query.get("cursor"))
    shown = rows[:limit]
    next_cursor = shown[-1].id if len(rows) > limit else None
    monitor = manager().monitor
    return render_template(
        "trainings/list.html",
        sessions=shown,
        next_cursor=next_cursor,
        schedule=monitor.schedule_status(),
        decisions=monitor.decisions.list_started(identity().tenant, MAX_DECISIONS),
    )


@trainings.operation("/trainings/<number:session_id>", HTML)
def get_training(session_id: int) -> ResponseReturnValue:
    """Show one session: progress while it runs, then its verdict with the reasons."""
    session = manager().sessions.get(session_id, identity().tenant)
    waiting = manager().data_health.quarantined(model_key(session))
    epochs, history_error = _read_epochs(session, 1)
    charts = _list_charts(session, epochs)
    render = render_charts if charts else render_template
    return render(
        "trainings/session.html",
        session=session,
        events=manager().sessions.newest_events(session_id, MAX_EVENTS),
        epoch=epochs[-1] if epochs and not session.has_ended else None,
        charts=charts,
        history_error=history_error,
        page=MODEL_PAGES.get(session.family, "/versions/{family}/{name}").format(**vars(session)),
        decisions=manager().monitor.decisions.list_started(session.tenant, MAX_DECISIONS, session_id),
        may_accept=session.id in {batch.session_id for batch in waiting},
    )


@trainings.operation("/trainings/<number:session_id>/figures/<kind>", FIGURE)
def get_history_figure(session_id: int, kind: str) -> Figure:
    """Return what a session measured at the end of each epoch: the losses, or the accuracy."""
    if kind not in LINES:
        raise NotFound(f"There is no figure {kind}; there are: {', '.join(LINES)}")
    session = manager().sessions.get(session_id, identity().tenant)
    epochs, _ = _read_epochs(session, MAX_EPOCHS)
    lines = {fact: gettext(name) for fact, name in LINES[kind].items()}
    return build_history_figure(kind, gettext("epoch"), epochs, lines)


@trainings.operation(
    "/trainings/<number:session_id>/cancel", REDIRECT, method="POST", role="train", body=FORM
)
def cancel_training(session_id: int) -> ResponseReturnValue:
    """Cancel a session: nothing changes."""
    manager().cancel(session_id, identity().tenant)
    return see_other(f"/trainings/{session_id}")


@trainings.operation("/trainings/<number:session_id>/retry", REDIRECT, method="POST", role="train", body=FORM)
def retry_training(session_id: int) -> ResponseReturnValue:
    """Train again with the records of a session that failed or was interrupted."""
    return _start(lambda: manager().retry(session_id, identity().tenant, wait=False), session_id)


@trainings.operation("/trainings/<number:session_id>/undo", REDIRECT, method="POST", role="train", body=FORM)
def undo_training(session_id: int) -> ResponseReturnValue:
    """Take the records of a session out again, and train without them."""
    return _start(lambda: manager().undo(session_id, identity().tenant, wait=False), session_id)


@trainings.operation(
    "/trainings/<number:session_id>/accept", REDIRECT, method="POST", role="train", body=FORM
)
def accept_training(session_id: int) -> ResponseReturnValue:
    """Learn the records of a rejected session, and promote the model that has learnt them."""
    accepted_by = read_form(AcceptRequest)["accepted_by"]
    return _start(
        lambda: manager().accept(session_id, identity().tenant, accepted_by, wait=False), session_id
    )


def _read_epochs(session: Session, count: int) -> tuple[Sequence[Document], str]:
    """Return the facts of the newest epochs, and why the history of the version cannot be read, if so.

    They are those of the events, and in the end those of the history in the version: events leave out epochs that
    follow each other within a fifth of a second.
    """
    problem = ""
    if session.has_ended and session.version is not None:
        try:
            path = manager().downloads.file(model_key(session), session.version, TRAINING_HISTORY)
            if history := json.loads(path.read_text(encoding="utf-8")).get("epochs"):
                return cast(Sequence[Document], history), ""
        except NotFound:
            # A family without epochs has no history, and an old version may have been removed.
            pass
        except MillwrightError as error:
            problem = error.message
        except (OSError, ValueError) as error:
            log.warning("history_unreadable", session_id=session.id, exc_info=error)
            problem = gettext(
                "%(file)s of version %(version)s cannot be read.",
                file=TRAINING_HISTORY,
                version=session.version,
            )
    return [event.data for event in manager().sessions.newest_events(session.id, count, EPOCH)], problem


def _list_charts(session: Session, epochs: Sequence[Document]) -> list[str]:
    """Return the charts of a session: those of a family that counts epochs are there before the first one."""
    schema = registry.load_option_schema(session.family)
    if not epochs and (session.has_ended or schema is None or "epochs" not in schema().fields):
        return []
    has_accuracy = any("val_accuracy" in epoch for epoch in epochs) or session.family == "damage"
    return list(LINES) if has_accuracy else ["losses"]


def _start(start: Callable[[], TrainingOutcome], session_id: int) -> ResponseReturnValue:
    """Start a session and lead to its page."""
    session = start().session
    return see_other(f"/trainings/{session.id if session else session_id}")
