"""Backups: list, create, verify, delete, and restore one."""

from __future__ import annotations

from typing import TypedDict

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.fields import StrictBoolean
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource
from api.http.schemas import Confirmation, DryRunQuery, OpenSchema, load_document
from storage.backups.backup import Backup

backups = Resource("backups", "Snapshots of data and models, and the way back to them.")


class BackupView(OpenSchema):
    """One backup."""

    name = fields.String(required=True, metadata={"example": "backup_20241205_143022"})
    created = fields.String(required=True, metadata={"description": "UTC", "example": "2024-12-05 14:30:22"})
    path = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    verified = fields.Boolean(required=True, allow_none=True)
    retain = fields.Boolean(required=True)
    reason = fields.String(required=True)
    training_session_id = fields.Integer(allow_none=True)
    problem = fields.String(allow_none=True)
    models = fields.Dict(keys=fields.String(), values=fields.Integer(allow_none=True))


class BackupList(Schema):
    """Every backup, the newest first."""

    backups = fields.List(fields.Nested(BackupView), required=True)
    count = fields.Integer(required=True)


class BackupResult(BackupView):
    """A backup that was created or verified."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)


class BackupRequest(Schema):
    """What to record with a backup."""

    reason = fields.String(load_default="on request", validate=validate.Length(1, 255))
    retain = StrictBoolean(load_default=False, metadata={"description": "Keep it for good."})


class RestoreResult(Confirmation):
    """Data and models are those of the backup again; with dry_run, what would change."""

    models_reloaded = fields.Boolean()
    changes = fields.List(fields.String())


_REQUEST_BODY = {"required": False, "content": {"application/json": {"schema": BackupRequest}}}


class BackupFacts(TypedDict):
    """A backup as this API shows it, with the names and the time format of the client's guide."""

    name: str
    created: str
    path: str
    size_bytes: int
    verified: bool | None
    retain: bool
    reason: str
    training_session_id: int | None
    problem: str | None
    models: dict[str, int | None]


def backup_to_dict(backup: Backup) -> BackupFacts:
    """Return a backup as this API shows it."""
    return {
        "name": backup.name,
        "created": backup.created_at.strftime("%Y-%m-%d %H:%M:%S"),
        "path": f"model_backups/{backup.name}",
        "size_bytes": backup.size_bytes,
        "verified": backup.verified,
        "retain": backup.retained,
        "reason": backup.reason,
        "training_session_id": backup.session_id,
        "problem": backup.error,
        "models": backup.pointers,
    }


@backups.operation("/train/backups", {200: BackupList})
def list_backups() -> ResponseReturnValue:
    """List every backup, the newest first."""
    newest_first = [backup_to_dict(backup) for backup in reversed(manager().backups.list(identity().tenant))]
    return {"backups": newest_first, "count": len(newest_first)}


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
    return backup_to_dict(manager().backups.get(name, identity().tenant))


@backups.operation("/train/backups/<name>", {200: Confirmation}, method="DELETE", role="admin")
def delete_backup(name: str) -> ResponseReturnValue:
    """Delete a backup."""
    manager().backups.delete(name, identity().tenant)
    return {"success": True, "message": f"Removed {name}"}


@backups.operation(
    "/train/backups/<name>/verify", {200: BackupResult}, method="POST", role="train", idempotent=True
)
def verify_backup(name: str) -> ResponseReturnValue:
    """Check every file of a backup against its hash."""
    backup = manager().backups.verify(name, identity().tenant)
    return _confirm(backup, f"Every file of {backup.name} is as it was written")


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


def _confirm(backup: Backup, message: str) -> Document:
    return {"success": True, "message": message, **backup_to_dict(backup)}
