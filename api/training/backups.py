"""Backups: list, create, verify, delete, and restore one."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from typing import Any, TypedDict

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.fields import PRINTABLE, StrictBoolean
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource
from api.http.schemas import Confirmation, DryRunQuery, OpenSchema, load_document
from api.models.severe_cases import SaferAnswerView
from api.training.waiting import PREFER_HEADER, WaitQuery, should_wait, wait_for_job
from storage.backups.backup import Backup
from storage.backups.proofs import Proof

backups = Resource("backups", "Snapshots of data and models, and the way back to them.")


class BackupView(OpenSchema):
    """One backup."""

    name = fields.String(required=True, metadata={"example": "backup_20241205_143022"})
    created = fields.String(required=True, metadata={"description": "UTC", "example": "2024-12-05 14:30:22"})
    path = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    verified = fields.Boolean(required=True, allow_none=True)
    verified_at = fields.DateTime(
        allow_none=True, metadata={"description": "When every byte of it was last read and compared."}
    )
    retain = fields.Boolean(required=True)
    reason = fields.String(required=True)
    training_session_id = fields.Integer(allow_none=True)
    problem = fields.String(allow_none=True)
    models = fields.Dict(keys=fields.String(), values=fields.Integer(allow_none=True))
    proven_at = fields.DateTime(
        allow_none=True, metadata={"description": "When a restore drill last opened it with success."}
    )
    drilled_at = fields.DateTime(
        allow_none=True, metadata={"description": "When a restore drill last ended."}
    )
    drill_error = fields.String(allow_none=True, metadata={"description": "What failed in that drill."})


class BackupList(Schema):
    """Every backup, the newest first."""

    backups = fields.List(fields.Nested(BackupView), required=True)
    count = fields.Integer(required=True)
    last_proven_at = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "The newest proof of all backups."}
    )


class BackupResult(BackupView):
    """A backup that was created or verified."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)


class BackupRequest(Schema):
    """What to record with a backup."""

    reason = fields.String(load_default="on request", validate=[validate.Length(1, 255), PRINTABLE])
    retain = StrictBoolean(load_default=False, metadata={"description": "Keep it for good."})


class RestoreResult(Confirmation):
    """Data and models are those of the backup again; with dry_run, what would change."""

    models_reloaded = fields.Boolean()
    changes = fields.List(fields.String())
    safer_answers = fields.List(
        fields.Nested(SaferAnswerView),
        allow_none=True,
        metadata={
            "description": "Locked severe cases with lower scores than before the restore; null where that cannot be "
            "told."
        },
    )
    warnings = fields.List(fields.String(), metadata={"description": "Of which models that cannot be told."})


_REQUEST_BODY = {"required": False, "content": {"application/json": {"schema": BackupRequest}}}


class BackupFacts(TypedDict):
    """A backup as this API shows it, with the names and the time format of the client's guide."""

    name: str
    created: str
    path: str
    size_bytes: int
    verified: bool | None
    verified_at: datetime | None
    retain: bool
    reason: str
    training_session_id: int | None
    problem: str | None
    models: dict[str, int | None]
    proven_at: datetime | None
    drilled_at: datetime | None
    drill_error: str | None


def backup_to_dict(backup: Backup, proof: Proof | None = None) -> BackupFacts:
    """Return a backup, with its last restore drill if there was one, as this API shows it."""
    return {
        "name": backup.name,
        "created": backup.created_at.strftime("%Y-%m-%d %H:%M:%S"),
        "path": f"model_backups/{backup.name}",
        "size_bytes": backup.size_bytes,
        "verified": backup.verified,
        "verified_at": backup.verified_at,
        "retain": backup.retained,
        "reason": backup.reason,
        "training_session_id": backup.session_id,
        "problem": backup.error,
        "models": backup.pointers,
        "proven_at": proof.proven_at if proof else None,
        "drilled_at": proof.drilled_at if proof else None,
        "drill_error": proof.error if proof else None,
    }


@backups.operation("/train/backups", {200: BackupList})
def list_backups() -> ResponseReturnValue:
    """List every backup, the newest first."""
    proofs, rows = manager().restore_drills.proofs(), manager().backups.list(identity().tenant)
    newest_first = [backup_to_dict(backup, proofs.get(backup.name)) for backup in reversed(rows)]
    times = [time for backup in newest_first if (time := backup["proven_at"])]
    return {
        "backups": newest_first,
        "count": len(newest_first),
        "last_proven_at": max(times, default=None),
    }


@backups.operation(
    "/train/backups",
    {201: BackupResult},
    method="POST",
    role="train",
    body=_REQUEST_BODY,
    idempotent=True,
    errors=(409,),
)
def create_backup() -> ResponseReturnValue:
    """Back data and models up now."""
    options = load_document(BackupRequest, read_json(absent={}))
    backup = manager().backups.create(None, identity().tenant, options["reason"], options["retain"])
    return _confirm(backup, f"Backed up as {backup.name}"), 201


@backups.operation("/train/backups/<name>", {200: BackupView})
def get_backup(name: str) -> ResponseReturnValue:
    """Return one backup."""
    backup = manager().backups.get(name, identity().tenant)
    return backup_to_dict(backup, manager().restore_drills.proofs().get(backup.name))


@backups.operation("/train/backups/<name>", {200: Confirmation}, method="DELETE", role="admin")
def delete_backup(name: str) -> ResponseReturnValue:
    """Delete a backup."""
    manager().backups.delete(name, identity().tenant)
    return {"success": True, "message": f"Removed {name}"}


class AcceptedCheck(Confirmation):
    """A check that continues after the response."""

    location = fields.String(required=True, metadata={"description": "Where its result will stand."})


# What may read gigabytes: it goes on by itself where the client leaves or too many wait.
_READS_A_BACKUP: dict[str, Any] = {
    "method": "POST",
    "role": "train",
    "query": WaitQuery,
    "headers": (PREFER_HEADER,),
    "idempotent": True,
}


@backups.operation("/train/backups/<name>/verify", {200: BackupResult, 202: AcceptedCheck}, **_READS_A_BACKUP)
def verify_backup(query: Query, name: str) -> ResponseReturnValue:
    """Check every file of a backup against its hash."""
    job = start_verification(name)
    if not (should_wait(query) and wait_for_job(job)):
        return _accepted(name, "is being verified")
    return _confirm(job.result(), f"Every file of {name} is as it was written")


def start_verification(name: str) -> Future[Backup]:
    """Start to check a backup of this tenant in a thread of its own, or join the check that runs."""
    service, tenant = manager().backups, identity().tenant
    service.get(name, tenant)
    return manager().jobs.start(f"verify-{name}", lambda: service.verify(name, tenant))


class DrillResult(Confirmation):
    """A backup was opened."""

    proven_at = fields.DateTime(required=True)
    models_loaded = fields.Integer(required=True)
    answers_reproduced = fields.Integer(required=True)


@backups.operation("/train/backups/<name>/drill", {200: DrillResult, 202: AcceptedCheck}, **_READS_A_BACKUP)
def drill_backup(query: Query, name: str) -> ResponseReturnValue:
    """Open a backup in a clean process, load its models, and answer kept predictions again."""
    drills, tenant = manager().restore_drills, identity().tenant
    name = manager().backups.get(name, tenant).name
    job = manager().jobs.start(f"drill-{name}", lambda: drills.run(name, tenant))
    if not (should_wait(query) and wait_for_job(job)):
        return _accepted(name, "is being opened")
    proof = job.result()
    return {
        "success": True,
        "message": f"{name} was opened: its models load and answer as they did",
        "proven_at": proof.drilled_at,
        "models_loaded": proof.models,
        "answers_reproduced": proof.answers,
    }


@backups.operation(
    "/train/restore/<name>",
    {200: RestoreResult},
    method="POST",
    role="admin",
    query=DryRunQuery,
    idempotent=True,
)
def restore_backup(query: Query, name: str) -> ResponseReturnValue:
    """Bring data and models back to a backup; the present is backed up first."""
    result = manager().backups.restore(name, identity().tenant, dry_run=query["dry_run"])
    if query["dry_run"]:
        return {"success": True, "dry_run": True, "message": f"Would restore {name}", **result}
    return {
        "success": True,
        "message": f"Successfully restored from backup {name}",
        "models_reloaded": not any(result["workers"].values()),
        **result,
    }


def _accepted(name: str, state: str) -> tuple[Document, int, dict[str, str]]:
    """Return the 202 of a check that continues by itself."""
    location = f"/train/backups/{name}"
    body: Document = {"success": True, "message": f"{name} {state}; {location} shows the result"}
    headers = {"Location": location, "Preference-Applied": "respond-async"}
    return {**body, "location": location}, 202, headers


def _confirm(backup: Backup, message: str) -> Document:
    return {"success": True, "message": message, **backup_to_dict(backup)}
