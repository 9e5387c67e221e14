"""What the end of a training session has to tell people who do not watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from storage.alarms.outbox import Alarm

if TYPE_CHECKING:
    from storage.db.sessions import Session

_NOT_PROMOTED: Final = "training.not_promoted"
_SEVERITIES: Final = {"failed": "High", "interrupted": "Medium", "rejected": "Medium"}
_MAX_NAMED_MODELS: Final = 5


def describe_end(session: Session) -> list[Alarm]:
    """Return the alarm of a session that failed, or left a model without promotion; none of a good end."""
    message, event = session.message or "The log of the session says why.", "training.failed"
    if session.state in ("failed", "interrupted"):
        ended = "has failed" if session.state == "failed" else "has been interrupted"
        text = f"Session {session.id}, a training of {_model(session)}, {ended}: {message}"
    elif session.state == "rejected":
        event = _NOT_PROMOTED
        reasons = " ".join(session.reasons) or message
        text = f"Session {session.id} has promoted no version of {_model(session)}: {reasons}"
    elif session.state == "completed" and (
        left := [item["name"] for item in session.items if item["state"] != "completed"]
    ):
        event = _NOT_PROMOTED
        named = ", ".join(left[:_MAX_NAMED_MODELS])
        more = f" and {len(left) - _MAX_NAMED_MODELS} more" if len(left) > _MAX_NAMED_MODELS else ""
        text = f"Session {session.id} has promoted no version of {len(left)} of its models: {named}{more}"
    else:
        return []
    return [
        Alarm(
            session.tenant,
            event,
            _SEVERITIES.get(session.state, "Medium"),
            session.family,
            f"models/{session.family}/{session.name}",
            text,
            incident=f"sessions/{session.id}",
            data={"training_session_id": session.id, "state": session.state, "kind": session.kind},
        )
    ]


def _model(session: Session) -> str:
    models = len(session.details.get("models") or ())
    return f"{models} {session.family} models" if models else f"{session.family}/{session.name}"
