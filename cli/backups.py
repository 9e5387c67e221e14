"""``millwright backups``: manage backups and copy the database. All of it works beside a running server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from api.training.backups import backup_to_dict
from cli.console import (
    CommandGroup,
    ExitCode,
    JSONFlag,
    TenantOption,
    echo,
    echo_json,
    echo_result,
    echo_rows,
    echo_table,
    load_local_settings,
    local_manager,
)
from cli.database_copy import copy_database, file_suffix
from errors import MillwrightError
from storage.backups.backup import Backup
from storage.backups.retention import plan_retention

if TYPE_CHECKING:
    from training_manager import TrainingManager

app = CommandGroup("Manage backups of data and models, and copy the database.")

Name = Annotated[str, typer.Argument(help="A name that `list` shows, such as backup_20241205_143022.")]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Show what would happen and change nothing.")]
COLUMNS = ("name", "created", "size", "verified", "proven_at", "retain", "reason", "problem")


@app.command("list")
def list_backups(tenant: TenantOption = "default", as_json: JSONFlag = False) -> None:
    """List all backups, the newest first."""
    with local_manager() as manager:
        proofs = manager.restore_drills.proofs()
        backups = [backup_to_dict(b, proofs.get(b.name)) for b in _newest_first(manager, tenant)]
    rows = [{**backup, "size": decimal(backup["size_bytes"])} for backup in backups]
    cells = [[row[column] for column in COLUMNS] for row in rows]
    echo_rows(as_json, {"backups": backups, "count": len(backups)}, COLUMNS, cells)


@app.command()
def create(
    reason: Annotated[str, typer.Option(help="Why it is made; shown in the list.")] = "on request",
    protect: Annotated[bool, typer.Option("--protect", help="Exempt it from retention.")] = False,
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Back up data and models now."""
    with local_manager() as manager:
        backup = manager.backups.create(None, tenant, reason, protect)
    echo_result(as_json, f"Created {backup.name}", **backup_to_dict(backup))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Backups to verify; default: all.")] = None,
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Check every file of backups against its hash."""
    with local_manager() as manager:
        wanted = names or [backup.name for backup in _newest_first(manager, tenant)]
        problems = {name: _find_problem(manager, name, tenant) for name in wanted}
    if as_json:
        rows = [{"name": name, "verified": not error, "problem": error} for name, error in problems.items()]
        echo_json({"success": not any(problems.values()), "backups": rows})
    else:
        echo_table(("name", "result"), [[name, error or "good"] for name, error in problems.items()])
    if any(problems.values()):
        raise typer.Exit(ExitCode.REFUSED)


@app.command()
def drill(name: Name, tenant: TenantOption = "default", as_json: JSONFlag = False) -> None:
    """Open a backup in a clean process, load its models, and answer kept predictions again."""
    with local_manager() as manager:
        proof = manager.restore_drills.run(name, tenant)
    message = f"{name} was opened: {proof.models} models loaded, {proof.answers} answers reproduced"
    proven_at = proof.drilled_at.isoformat()
    echo_result(as_json, message, name=name, proven_at=proven_at, models=proof.models, answers=proof.answers)


@app.command()
def restore(
    name: Name, dry_run: DryRunFlag = False, tenant: TenantOption = "default", as_json: JSONFlag = False
) -> None:
    """Restore data and models from a backup; the present state is backed up first."""
    with local_manager() as manager:
        result = manager.backups.restore(name, tenant, dry_run=dry_run)
    action = "Would restore" if dry_run else "Successfully restored from backup"
    echo_result(as_json, f"{action} {name}", **result)
    for change in () if as_json else result.get("changes", ()):
        echo(f"  {change}")


@app.command()
def protect(name: Name, tenant: TenantOption = "default", as_json: JSONFlag = False) -> None:
    """Keep a backup for good, whatever the rules of retention say."""
    _set_protection(name, tenant, True, as_json)


@app.command()
def unprotect(name: Name, tenant: TenantOption = "default", as_json: JSONFlag = False) -> None:
    """Let retention decide about a backup again."""
    _set_protection(name, tenant, False, as_json)


@app.command()
def forget(
    names: Annotated[list[str] | None, typer.Argument(help="Backups to remove, instead of rules.")] = None,
    *,
    keep_last: Annotated[int, typer.Option(min=0, help="Keep the newest N.")] = 0,
    keep_daily: Annotated[int, typer.Option(min=0, help="Keep the newest of each of the last N days.")] = 0,
    keep_weekly: Annotated[int, typer.Option(min=0, help="… of the last N weeks.")] = 0,
    keep_monthly: Annotated[int, typer.Option(min=0, help="… of the last N months.")] = 0,
    dry_run: DryRunFlag = False,
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Remove backups by name or by rule, and show which are kept and why."""
    rules = (keep_last, keep_daily, keep_weekly, keep_monthly)
    if bool(names) == any(rules):
        raise typer.BadParameter("Name backups, or give at least one --keep-… rule")
    with local_manager() as manager:
        plan = [(manager.backups.get(name, tenant), False, "named") for name in names or ()]
        plan = plan or plan_retention(_newest_first(manager, tenant), *rules)
        for backup, keep, _ in plan:
            if not (keep or dry_run):
                manager.backups.delete(backup.name, tenant)
    _echo_plan(plan, dry_run, as_json)


@app.command()
def database(
    output: Annotated[
        Path | None, typer.Option(help="File to write; default: a new one in model_backups/.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Copy the whole database (sessions, keys, readings) while the server runs."""
    settings = load_local_settings()
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    target = output or settings.backups_dir / f"database_{stamp}{file_suffix(settings.database)}"
    copy_database(settings.database, target)
    echo_result(as_json, f"Copied to {target}", path=str(target), size_bytes=target.stat().st_size)


def _newest_first(manager: TrainingManager, tenant: str) -> list[Backup]:
    return list(reversed(manager.backups.list(tenant)))


def _find_problem(manager: TrainingManager, name: str, tenant: str) -> str | None:
    try:
        manager.backups.verify(name, tenant)
    except MillwrightError as error:
        return error.message
    return None


def _set_protection(name: str, tenant: str, protected: bool, as_json: bool) -> None:
    with local_manager() as manager:
        manager.backups.set_retained(name, tenant, protected)
    echo_result(
        as_json, f"{name} is {'' if protected else 'no longer '}protected", name=name, retain=protected
    )


def _echo_plan(plan: list[tuple[Backup, bool, str]], dry_run: bool, as_json: bool) -> None:
    rows = [{"name": backup.name, "keep": keep, "reason": reason} for backup, keep, reason in plan]
    if as_json:
        echo_json({"success": True, "dry_run": dry_run, "backups": rows})
        return
    removed = "would remove" if dry_run else "removed"
    decisions = [[row["name"], "keep" if row["keep"] else removed, row["reason"]] for row in rows]
    echo_table(("name", "decision", "reason"), decisions)
