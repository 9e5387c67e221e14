"""API keys: who may read, train or administer, and for which tenant."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.console import JSONFlag, application, say, say_json, say_table, settings_here, told
from prediction.contract import ModelKey
from storage.container import open_storage
from storage.db.api_keys import ApiKeys

app = application("API keys. A server that listens beyond this machine needs at least one.")

COLUMNS = ("id", "role", "tenant", "label", "prefix", "created_at", "revoked_at")


class KeyRole(StrEnum):
    """What a key is good for."""

    READ = "read"
    TRAIN = "train"
    ADMIN = "admin"


@app.command()
def create(
    role: Annotated[KeyRole, typer.Option(help="Each may do what the earlier ones may.")],
    label: Annotated[str, typer.Option(help="Who or what will use it.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose data and models it opens.")] = "default",
    as_json: JSONFlag = False,
) -> None:
    """Make a key. The secret is shown once and kept nowhere."""
    with told(as_json):
        ModelKey("scoring", tenant=tenant)  # refuses a name that no tenant can have
        secret, row = _keys().create(role, tenant, label)
        if as_json:
            say_json({"success": True, "secret": secret, "key": asdict(row)})
        else:
            say(f"{secret}\n\nKey {row.id}, role {role}, tenant {tenant}. Keep it: it is not shown again.")


@app.command("list")
def list_keys(as_json: JSONFlag = False) -> None:
    """List all keys, without their secrets."""
    with told(as_json):
        rows = [asdict(row) for row in _keys().list()]
        if as_json:
            say_json({"keys": rows, "count": len(rows)})
        else:
            say_table(COLUMNS, [[row.get(name) for name in COLUMNS] for row in rows])


@app.command()
def revoke(
    key_id: Annotated[int, typer.Argument(help="The id that `list` shows.")], as_json: JSONFlag = False
) -> None:
    """Revoke a key; a running server refuses it within a second."""
    with told(as_json):
        _keys().revoke(key_id)
        if as_json:
            say_json({"success": True, "revoked": key_id})
        else:
            say(f"Key {key_id} is revoked.")


def _keys() -> ApiKeys:
    return open_storage(settings_here()).keys


if __name__ == "__main__":
    app()
