"""``millwright keys``: manage API keys."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from cli.console import (
    CommandGroup,
    JSONFlag,
    TenantOption,
    echo_result,
    echo_rows,
    local_manager,
)
from prediction.contract import ModelKey

app = CommandGroup("Manage API keys. A server that listens beyond this machine needs at least one.")

COLUMNS = ("id", "role", "tenant", "label", "prefix", "created_at", "revoked_at")


class KeyRole(StrEnum):
    """Roles of a key, each with the rights of the one before it."""

    READ = "read"
    TRAIN = "train"
    ADMIN = "admin"


@app.command()
def create(
    role: Annotated[KeyRole, typer.Option(help="A role has the rights of those before it.")],
    label: Annotated[str, typer.Option(help="Who or what uses the key.")] = "",
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Create a key. Its secret is shown once and is not stored."""
    ModelKey("scoring", tenant=tenant)  # raises where no tenant can have this name
    with local_manager() as manager:
        secret, key = manager.keys.create(role, tenant, label)
    message = f"{secret}\n\nKey {key.id}, role {role}, tenant {tenant}. It is not shown again."
    echo_result(as_json, message, secret=secret, key=asdict(key))


@app.command("list")
def list_keys(as_json: JSONFlag = False) -> None:
    """List all keys, without their secrets."""
    with local_manager() as manager:
        keys = [asdict(key) for key in manager.keys.list()]
    rows = [[key.get(name) for name in COLUMNS] for key in keys]
    echo_rows(as_json, {"keys": keys, "count": len(keys)}, COLUMNS, rows)


@app.command()
def revoke(
    key_id: Annotated[int, typer.Argument(help="The id that `list` shows.")], as_json: JSONFlag = False
) -> None:
    """Revoke a key; a running server refuses it within a second."""
    with local_manager() as manager:
        manager.keys.revoke(key_id)
    echo_result(as_json, f"Key {key_id} is revoked.", revoked=key_id)
