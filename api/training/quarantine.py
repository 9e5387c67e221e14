"""Records in quarantine: which wait, which made a model worse, and how to accept them."""

from __future__ import annotations

from collections.abc import Sequence

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.http.context import identity, manager
from api.http.idempotency import assign_session
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource, model_key
from api.http.schemas import load_document, page, page_schema
from api.models.request_bodies import ACCEPT_BODY, AcceptRequest
from api.training.training_response import (
    AcceptedView,
    TrainingView,
    WaitingBatchView,
    accepted_response,
)
from api.training.waiting import STARTS_A_SESSION, WaitQuery, respond_at_end, should_wait
from prediction.contract import BatchInfluence, ModelKey

quarantine = Resource("quarantine", "Records of rejected sessions, and which batch made a model worse.")


class QuarantinedBatchView(WaitingBatchView):
    """Records in quarantine with the calls that end it."""

    accept = fields.String(required=True, metadata={"description": "The call that learns them."})
    undo = fields.String(required=True, metadata={"description": "The call that removes them."})


class InfluenceView(Schema):
    """What one batch does to a model."""

    training_session_id = fields.Integer(required=True, allow_none=True)
    records = fields.Integer(required=True)
    loss_change = fields.Float(
        required=True,
        metadata={"description": "How much the loss on held-out records falls when the batch is left out."},
    )
    log_e_value = fields.Float(
        required=True, metadata={"description": "Evidence that its labels follow another rule."}
    )
    hypothesis = fields.String(required=True, metadata={"description": "That rule."})
    rater = fields.String(
        required=True, allow_none=True, metadata={"description": "Who scored at least half of its records."}
    )
    undo = fields.String(
        required=True, allow_none=True, metadata={"description": "The call that removes it."}
    )


# Two routes answer with it: one class for both, or OpenAPI has two schemas of one name.
InfluencePage = page_schema(InfluenceView)


@quarantine.operation("/train/quarantine", {200: page_schema(QuarantinedBatchView)})
def list_quarantine() -> ResponseReturnValue:
    """List the batches in quarantine, by model and the oldest first."""
    waiting = manager().data_health.all_waiting(identity().tenant)
    return page(
        [
            {
                **batch,
                "accept": f"POST /train/sessions/{batch['training_session_id']}/accept",
                "undo": f"POST /train/undo/{batch['training_session_id']}",
            }
            for model in waiting
            for batch in model.to_dicts()
        ]
    )


@quarantine.operation(
    "/train/sessions/<number:session_id>/accept",
    {200: TrainingView, 202: AcceptedView},
    query=WaitQuery,
    body=ACCEPT_BODY,
    **STARTS_A_SESSION,
)
def accept_session(query: Query, session_id: int) -> ResponseReturnValue:
    """Learn a session's records from quarantine, and promote the model that has learnt them.

    ---
    `accepted_by` is kept with the session and in the version's manifest. It is needed where the model gives locked
    severe cases lower scores than the serving version; without it the records stay in quarantine.
    """
    accepted_by = load_document(AcceptRequest, read_json(absent={}))["accepted_by"]
    wait = should_wait(query)
    outcome = manager().accept(session_id, identity().tenant, accepted_by, wait=False)
    assert outcome.session is not None
    assign_session(outcome.session.id)
    return respond_at_end(outcome) if wait else accepted_response(outcome.session)


@quarantine.operation("/train/sessions/<number:session_id>/influence", {200: InfluencePage}, errors=(409,))
def get_influence(session_id: int) -> ResponseReturnValue:
    """Return what each batch does to the session's model, the most harmful first.

    ---
    Of a rejected session, as its gate measured it; of any other, as it is now.
    """
    session = manager().sessions.get(session_id, identity().tenant)
    return page(_influence_to_dicts(manager().influence.of_session(session)))


@quarantine.operation("/models/<family:family>/<name>/culprits", {200: InfluencePage}, errors=(409,))
def list_culprits(family: str, name: str) -> ResponseReturnValue:
    """List the batches that a model would be better without, the most harmful first."""
    key: ModelKey = model_key(family, name, identity().tenant)
    batches = [batch for batch in manager().influence.measure(key) if batch.loss_change > 0]
    return page(_influence_to_dicts(batches))


def _influence_to_dicts(batches: Sequence[BatchInfluence]) -> list[Document]:
    return [
        {
            "training_session_id": batch.session_id,
            "records": batch.rows,
            "loss_change": batch.loss_change,
            "log_e_value": batch.log_e_value,
            "hypothesis": batch.hypothesis,
            "rater": batch.rater,
            "undo": f"POST /train/undo/{batch.session_id}" if batch.session_id else None,
        }
        for batch in batches
    ]
