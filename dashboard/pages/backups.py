"""Backups: make, prove, protect, and see what a restore changes before it is done."""

from __future__ import annotations

from flask import make_response, render_template
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.context import identity, manager
from api.http.fields import PRINTABLE
from api.http.resource import Query
from api.training.backups import start_verification
from api.training.waiting import wait_for_job
from dashboard.resource import FORM, HTML, REDIRECT, FormQuery, Pages, read_form, see_other
from storage.backups.retention import decide_retention

backups = Pages("backup pages", "Backups, for people.")

MAX_BACKUPS = 100


class BackupForm(Schema):
    """Why a backup is made."""

    reason = fields.String(load_default="on request", validate=[validate.Length(1, 255), PRINTABLE])


class ProtectForm(Schema):
    """Whether retention may delete a backup."""

    retain = fields.Boolean(required=True)


class RetentionQuery(FormQuery):
    """How many backups retention would keep, by each rule; without a rule there is no preview."""

    keep_last = fields.Integer(validate=validate.Range(0, 10_000))
    keep_daily = fields.Integer(validate=validate.Range(0, 10_000))
    keep_weekly = fields.Integer(validate=validate.Range(0, 10_000))
    keep_monthly = fields.Integer(validate=validate.Range(0, 10_000))


@backups.operation("/backups", HTML, query=RetentionQuery)
def list_backup_pages(query: Query) -> str:
    """List the backups, the newest first, with their last proofs, and what rules of retention would keep."""
    listed = sorted(
        manager().backups.list(identity().tenant), key=lambda backup: backup.sequence, reverse=True
    )
    return render_template(
        "backups/list.html",
        backups=listed[:MAX_BACKUPS],
        count=len(listed),
        proofs=manager().restore_drills.proofs(),
        query=query,
        # Only a preview: `millwright backups forget` removes.
        plan=decide_retention(listed, **query) if any(query.values()) else None,
    )


@backups.operation("/backups", REDIRECT, method="POST", role="train", body=FORM)
def create_backup_on_page() -> ResponseReturnValue:
    """Back data and models up now."""
    reason = read_form(BackupForm)["reason"]
    backup = manager().backups.create(None, identity().tenant, reason)
    return see_other(f"/backups/{backup.name}")


@backups.operation("/backups/<name>", HTML)
def get_backup_page(name: str) -> str:
    """Show one backup, and what restoring it would change."""
    backup = manager().backups.get(name, identity().tenant)
    changes = manager().backups.restore(name, identity().tenant, dry_run=True)["changes"]
    return render_template(
        "backups/backup.html",
        backup=backup,
        changes=changes,
        proof=manager().restore_drills.proofs().get(name),
    )


@backups.operation(
    "/backups/<name>/restore", {**HTML, 500: HTML[200]}, method="POST", role="admin", body=FORM
)
def restore_on_page(name: str) -> ResponseReturnValue:
    """Bring data and models back to a backup, and tell what came of it; the present is backed up first."""
    result = manager().backups.restore(name, identity().tenant)
    worker_errors = [error for error in result["workers"].values() if error]
    page = render_template(
        "backups/restored.html",
        name=name,
        safety_backup=result["safety_backup"].rsplit("/", 1)[1],
        changes=result["changes"],
        worker_errors=worker_errors,
        safer_answers=result["safer_answers"],
        warnings=result["warnings"],
    )
    # The data are restored, but what some worker answers is not.
    return make_response(page, 500 if worker_errors else 200)


@backups.operation("/backups/<name>/verify", REDIRECT, method="POST", role="train", body=FORM)
def verify_on_page(name: str) -> ResponseReturnValue:
    """Check every file of a backup against its hash; where no request may wait for it, the check goes on."""
    job = start_verification(name)
    if wait_for_job(job):
        job.result()
    return see_other(f"/backups/{name}")


@backups.operation("/backups/<name>/protect", REDIRECT, method="POST", role="train", body=FORM)
def protect_on_page(name: str) -> ResponseReturnValue:
    """Protect a backup from retention, or stop protecting it."""
    manager().backups.set_retained(name, identity().tenant, read_form(ProtectForm)["retain"])
    return see_other(f"/backups/{name}")
