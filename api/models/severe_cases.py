"""Severe cases: locked, so that no version answers them safer unseen."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.request_body import read_json
from api.http.resource import Document, Resource, model_key
from api.http.schemas import load_document
from prediction.contract import ModelKey
from training.services.severe_cases import MAX_CHOSEN, LockedSet

severe_cases = Resource("severe-cases", "Severe cases that no version may answer safer unseen.")


class SaferAnswerView(Schema):
    """A locked severe case to which a version gives a lower score."""

    case = fields.String(required=True)
    score = fields.String(required=True, metadata={"example": "availability"})
    before = fields.Float(required=True)
    after = fields.Float(required=True)


class SevereCaseView(Schema):
    """A locked severe case."""

    case = fields.String(
        required=True, metadata={"description": "Its anomaly_id, or a name made from its content."}
    )
    description = fields.String(required=True)
    expert_scores = fields.Dict(
        keys=fields.String(), values=fields.Float(), required=True, metadata={"example": {"availability": 5}}
    )
    locked_at = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        required=True,
        metadata={"description": "The scores of the serving version: a new one must not give lower ones."},
    )


class SevereCasesView(Schema):
    """The locked severe cases of a model."""

    success = fields.Boolean(required=True)
    model = fields.String(required=True)
    chosen = fields.Boolean(
        required=True,
        metadata={"description": "Whether the plant has chosen them; otherwise the newest are locked."},
    )
    chosen_by = fields.String(required=True, allow_none=True)
    chosen_at = fields.DateTime(required=True, allow_none=True)
    compared = fields.Boolean(
        required=True,
        metadata={"description": "False where no version serves, or the serving one cannot be asked."},
    )
    cases = fields.List(fields.Nested(SevereCaseView), required=True)
    missing = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Chosen cases that are not stored as severe any more: nothing guards them."},
    )


class ChooseRequest(Schema):
    """Which severe cases to lock."""

    cases = fields.List(
        fields.String(validate=validate.Length(1, 200)),
        required=True,
        validate=validate.Length(1, MAX_CHOSEN),
    )
    chosen_by = fields.String(required=True, validate=validate.Length(1, 200))


_ROUTE = "/models/<family:family>/<name>/severe-cases"


@severe_cases.operation(_ROUTE, {200: SevereCasesView}, errors=(409,))
def list_severe_cases(family: str, name: str) -> ResponseReturnValue:
    """List the severe cases that the next version must not answer safer, the newest first."""
    key = model_key(family, name, identity().tenant)
    return _to_dict(key, manager().severe_cases.locked(key))


@severe_cases.operation(
    _ROUTE,
    {200: SevereCasesView},
    method="PUT",
    role="admin",
    body={"required": True, "content": {"application/json": {"schema": ChooseRequest}}},
)
def choose_severe_cases(family: str, name: str) -> ResponseReturnValue:
    """Lock these cases in place of the newest ones."""
    key = model_key(family, name, identity().tenant)
    request = load_document(ChooseRequest, read_json())
    return _to_dict(key, manager().severe_cases.choose(key, request["cases"], request["chosen_by"]))


@severe_cases.operation(_ROUTE, {200: SevereCasesView}, method="DELETE", role="admin")
def clear_severe_cases(family: str, name: str) -> ResponseReturnValue:
    """Lock the newest cases again, in place of those that were chosen."""
    key = model_key(family, name, identity().tenant)
    return _to_dict(key, manager().severe_cases.clear(key))


def _to_dict(key: ModelKey, locked: LockedSet) -> Document:
    chosen = locked.chosen
    return {
        "success": True,
        "model": str(key),
        "chosen": chosen is not None,
        "chosen_by": chosen.chosen_by if chosen else None,
        "chosen_at": chosen.chosen_at if chosen else None,
        "compared": locked.cases is not None,
        "cases": [
            {
                "case": entry.case.id,
                "description": entry.case.description,
                "expert_scores": dict(entry.case.scores),
                "locked_at": dict(entry.levels),
            }
            for entry in locked.cases or ()
        ],
        "missing": locked.missing,
    }
