"""Backups: list, make, check, remove, and go back to one."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.request_body import read_json
from api.http.resource import Resource
from api.http.schemas import Confirmation, DryRunQuery, StrictBoolean, load_document
from errors import NotFound
from storage.backups.backup import Backup

CREATED = "%Y-%m-%d %H:%M:%S"

backups = Resource("backups", "Snapshots of data and models, and the way back to them.")


class BackupView(Schema):
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
    """A backup that was made or checked."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)


class BackupRequest(Schema):
    """What to say about a backup."""

    reason = fields.String(load_default="on request", validate=validate.Length(1, 255))
    retain = StrictBoolean(load_default=False, metadata={"description": "Keep it for good."})


class RestoreResult(Confirmation):
    """Data and models are those of the backup again; with dry_run, what would change."""

    models_reloaded = fields.Boolean()
    changes = fields.List(fields.String())


BACKUP_REQUEST_BODY = {"required": False, "content": {"application/json": {"schema": BackupRequest}}}


def backup_to_dict(backup: Backup) -> dict[str, Any]:
    """A backup as the API tells it."""
    return {
        "name": backup.name,
        "created": backup.created_at.strftime(CREATED),
        "path": f"model_backups/{backup.name}",
        "size_bytes": backup.size_bytes,
        "verified": backup.verified,
        "retain": backup.retained,
        "reason": backup.reason,
        "training_session_id": backup.session_id,
        "problem": backup.error,
        "models": backup.pointers,
    }


@backups.serves("/train/backups", {200: BackupList})
def list_backups() -> dict[str, Any]:
    """Every backup, the newest first."""
    oldest_first = manager().storage.backups.list()
    found = [
        backup_to_dict(backup) for backup in reversed(oldest_first) if backup.belongs_to(identity().tenant)
    ]
    return {"backups": found, "count": len(found)}


@backups.serves(
    "/train/backups",
    {201: BackupResult},
    method="POST",
    role="train",
    body=BACKUP_REQUEST_BODY,
    repeatable=False,
    errors=(409,),
)
def make_backup() -> Any:
    """Back data and models up now."""
    wish = load_document(BackupRequest, read_json(absent={}))
    backup = manager().backups.create(None, identity().tenant, wish["reason"], wish["retain"])
    return _made(backup, f"Backed up as {backup.name}"), 201


@backups.serves("/train/backups/<name>", {200: BackupView})
def get_backup(name: str) -> dict[str, Any]:
    """One backup."""
    return backup_to_dict(_backup(name))


@backups.serves("/train/backups/<name>", {200: Confirmation}, method="DELETE", role="admin")
def delete_backup(name: str) -> dict[str, Any]:
    """Remove a backup."""
    backup = _backup(name)
    manager().backups.delete(backup.name, identity().tenant)
    return {"success": True, "message": f"Removed {backup.name}"}


@backups.serves(
    "/train/backups/<name>/verify", {200: BackupResult}, method="POST", role="train", repeatable=False
)
def verify_backup(name: str) -> dict[str, Any]:
    """Check every file of a backup against its hash."""
    backup = manager().storage.backups.verify(_backup(name).name)
    return _made(backup, f"Every file of {backup.name} is as it was written")


@backups.serves(
    "/train/restore/<name>",
    {200: RestoreResult},
    method="POST",
    role="admin",
    query=DryRunQuery,
    repeatable=False,
)
def restore_backup(query: dict[str, Any], name: str) -> dict[str, Any]:
    """Bring data and models back to a backup; the present is backed up first."""
    backup = _backup(name)
    told = manager().backups.restore(backup.name, identity().tenant, dry_run=query["dry_run"])
    if query["dry_run"]:
        return {"success": True, "dry_run": True, "message": f"Would restore {backup.name}", **told}
    reloaded = not any(told["workers"].values())
    message = f"Successfully restored from backup {backup.name}"
    return {"success": True, "message": message, "models_reloaded": reloaded, **told}


def _backup(name: str) -> Backup:
    """The backup of exactly that name, found in the listing: no path is ever made of what a client sends."""
    backup = manager().storage.backups.get(name)
    if not backup.belongs_to(identity().tenant):
        raise NotFound("There is no backup of that name: GET /train/backups lists them")
    return backup


def _made(backup: Backup, message: str) -> dict[str, Any]:
    return {"success": True, "message": message, **backup_to_dict(backup)}
