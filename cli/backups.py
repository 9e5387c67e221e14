"""Backups of data and models, their retention, and a copy of the database. Works beside a running server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from api.training.backups import backup_to_dict
from cli.console import JSONFlag, application, say, say_json, say_table, settings_here, told
from cli.database_copy import copy_database, suffix
from errors import MillwrightError
from storage.backups import retention
from storage.backups.backup import Backup
from training_manager import TrainingManager, open_manager

app = application("Backups of data and models, and copies of the database.")

Name = Annotated[str, typer.Argument(help="A name that `list` shows, such as backup_20241205_143022.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen and change nothing.")]
TENANT = "default"
COLUMNS = ("name", "created", "size", "verified", "retain", "reason", "problem")


@app.command("list")
def list_backups(as_json: JSONFlag = False) -> None:
    """List all backups, the newest first."""
    with told(as_json), _manager() as manager:
        found = [backup_to_dict(backup) for backup in _newest_first(manager)]
        if as_json:
            say_json({"backups": found, "count": len(found)})
        else:
            rows = [{**backup, "size": decimal(backup["size_bytes"])} for backup in found]
            say_table(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])


@app.command()
def create(
    reason: Annotated[str, typer.Option(help="Why; it stands beside the backup.")] = "on request",
    retain: Annotated[bool, typer.Option("--retain", help="Never forget it by itself.")] = False,
    as_json: JSONFlag = False,
) -> None:
    """Back data and models up now."""
    with told(as_json), _manager() as manager:
        backup = manager.backups.create(None, TENANT, reason, retain)
        _answer(as_json, f"Backed up as {backup.name}", **backup_to_dict(backup))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Backups; without a name: all of them.")] = None,
    as_json: JSONFlag = False,
) -> None:
    """Check every file against its hash."""
    with told(as_json), _manager() as manager:
        wanted = names or [backup.name for backup in _newest_first(manager)]
        checked = {name: _problem(manager, name) for name in wanted}
        if as_json:
            rows = [
                {"name": name, "verified": said is None, "problem": said} for name, said in checked.items()
            ]
            say_json({"success": not any(checked.values()), "backups": rows})
        else:
            say_table(("name", "result"), [[name, said or "good"] for name, said in checked.items()])
    if any(checked.values()):
        raise typer.Exit(6)


@app.command()
def restore(name: Name, dry_run: DryRun = False, as_json: JSONFlag = False) -> None:
    """Bring data and models back to a backup; the present is backed up first."""
    with told(as_json), _manager() as manager:
        result = manager.backups.restore(name, TENANT, dry_run=dry_run)
        did = "Would restore" if dry_run else "Successfully restored from backup"
        _answer(as_json, f"{did} {name}", **result)
        for change in () if as_json else result.get("changes", ()):
            say(f"  {change}")


@app.command()
def retain(
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Let retention decide again.")] = False,
    as_json: JSONFlag = False,
) -> None:
    """Keep a backup whatever retention says."""
    with told(as_json), _manager() as manager:
        manager.backups.set_retained(name, TENANT, not off)
        _answer(as_json, f"{name} is {'no longer ' if off else ''}kept for good", name=name, retain=not off)


@app.command()
def forget(
    names: Annotated[list[str] | None, typer.Argument(help="Backups to remove, in place of rules.")] = None,
    *,
    keep_last: Annotated[int, typer.Option(min=0, help="Keep the newest N.")] = 0,
    keep_daily: Annotated[int, typer.Option(min=0, help="Keep the newest of each of the last N days.")] = 0,
    keep_weekly: Annotated[int, typer.Option(min=0, help="… of the last N weeks.")] = 0,
    keep_monthly: Annotated[int, typer.Option(min=0, help="… of the last N months.")] = 0,
    dry_run: DryRun = False,
    as_json: JSONFlag = False,
) -> None:
    """Remove backups by name or by rule. What is kept, and why, is always said."""
    rules = (keep_last, keep_daily, keep_weekly, keep_monthly)
    if bool(names) == any(rules):
        raise typer.BadParameter("Name backups, or give at least one --keep-… rule")
    with told(as_json), _manager() as manager:
        store = manager.storage.backups
        plan = [(store.get(name), False, "named") for name in names or ()]
        plan = plan or retention.plan_retention(_newest_first(manager), *rules)
        for backup, keep, _ in plan:
            if not (keep or dry_run):
                manager.backups.delete(backup.name, TENANT)
        _say_plan(plan, dry_run, as_json)


@app.command()
def database(
    to: Annotated[
        Path | None, typer.Option(help="File to write; default: a new one in model_backups/.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Copy the whole database (sessions, keys) while the server runs."""
    with told(as_json):
        settings = settings_here()
        stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
        target = to or settings.backups_dir / f"database_{stamp}{suffix(settings.database)}"
        copy_database(settings.database, target)
        _answer(as_json, f"Copied to {target}", path=str(target), size_bytes=target.stat().st_size)


@contextmanager
def _manager() -> Iterator[TrainingManager]:
    manager = open_manager(settings_here())
    try:
        yield manager
    finally:
        manager.close()


def _newest_first(manager: TrainingManager) -> list[Backup]:
    return sorted(manager.storage.backups.list(), key=lambda backup: backup.sequence, reverse=True)


def _problem(manager: TrainingManager, name: str) -> str | None:
    try:
        manager.storage.backups.verify(name)
    except MillwrightError as error:
        return error.message
    return None


def _answer(as_json: bool, message: str, **facts: Any) -> None:
    if as_json:
        say_json({"success": True, "message": message, **facts})
    else:
        say(message)


def _say_plan(plan: list[tuple[Backup, bool, str]], dry_run: bool, as_json: bool) -> None:
    rows = [{"name": backup.name, "keep": keep, "reason": reason} for backup, keep, reason in plan]
    if as_json:
        say_json({"success": True, "dry_run": dry_run, "backups": rows})
        return
    removed = "would remove" if dry_run else "removed"
    said = [[row["name"], "keep" if row["keep"] else removed, row["reason"]] for row in rows]
    say_table(("name", "decision", "reason"), said)


if __name__ == "__main__":
    app()
