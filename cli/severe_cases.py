"""``millwright severe-cases``: the severe cases that no version may answer safer unseen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.console import CommandGroup, JSONFlag, TenantOption, echo, echo_rows, local_manager
from prediction.contract import ModelKey
from prediction.registry import DEFAULT_FAMILY
from training.services.severe_cases import LockedSet

app = CommandGroup("Show and choose the severe cases that no version may answer safer unseen.")

FamilyOption = Annotated[str, typer.Option("--family", help="The family of the model.")]
NameOption = Annotated[str, typer.Option("--name", help="The name of the model.")]


@app.command("list")
def list_cases(
    family: FamilyOption = DEFAULT_FAMILY,
    *,
    name: NameOption = "default",
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """List the locked cases with the scores of the serving version, the newest first."""
    with local_manager() as manager:
        _show(manager.severe_cases.locked(ModelKey(family, name, tenant)), as_json)


@app.command("set")
def choose_cases(
    cases: Annotated[
        list[str], typer.Argument(help="The anomaly_id of each, or the name that `list` shows.")
    ],
    chosen_by: Annotated[str, typer.Option("--by", help="Who chooses them.")],
    family: FamilyOption = DEFAULT_FAMILY,
    *,
    name: NameOption = "default",
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Lock these cases in place of the newest ones."""
    with local_manager() as manager:
        _show(manager.severe_cases.choose(ModelKey(family, name, tenant), cases, chosen_by), as_json)


@app.command("clear")
def clear_cases(
    family: FamilyOption = DEFAULT_FAMILY,
    *,
    name: NameOption = "default",
    tenant: TenantOption = "default",
    as_json: JSONFlag = False,
) -> None:
    """Lock the newest cases again, in place of those that were chosen."""
    with local_manager() as manager:
        _show(manager.severe_cases.clear(ModelKey(family, name, tenant)), as_json)


def _show(locked: LockedSet, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"case": entry.case.id, "locked_at": dict(entry.levels), "description": entry.case.description}
        for entry in locked.cases or ()
    ]
    echo_rows(
        as_json,
        {"chosen_by": locked.chosen and locked.chosen.chosen_by, "cases": rows, "missing": locked.missing},
        ("case", "locked at", "description"),
        [
            [
                row["case"],
                ", ".join(f"{s} {level:g}" for s, level in row["locked_at"].items()),
                row["description"],
            ]
            for row in rows
        ],
    )
    if locked.missing and not as_json:
        echo(f"Not stored as severe any more, so not guarded: {', '.join(locked.missing)}")
