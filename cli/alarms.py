"""``millwright alarms``: what was raised, where it goes, and what did not arrive."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import ServerClient
from cli.console import ApiKeyOption, CommandGroup, JSONFlag, UrlOption, echo, echo_json, echo_table

app = CommandGroup("Show alarms and their routes, and send again what did not arrive.")

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
_ALARMS = ("id", "created_at", "severity", "event", "subject", "message")
_ROUTES = ("id", "name", "kind", "address", "min_severity", "enabled", "failures", "last_error")
_DELIVERIES = ("id", "alarm_id", "route_id", "subject", "attempts", "last_error")


@app.command("list")
def list_alarms(
    *,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that nobody has acknowledged.")] = False,
    limit: LimitOption = 20,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List alarms, the newest first."""
    path = f"/api/alarms?limit={limit}{'&acknowledged=false' if is_open else ''}"
    _show(ServerClient(url, api_key_file).get(path), _ALARMS, as_json)


@app.command("routes")
def list_routes(
    url: UrlOption = None, api_key_file: ApiKeyOption = None, *, as_json: JSONFlag = False
) -> None:
    """List the routes, and how each is doing."""
    _show(ServerClient(url, api_key_file).get("/api/alarm-routes?limit=1000"), _ROUTES, as_json)


@app.command("dead")
def list_dead(
    limit: LimitOption = 20,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    *,
    as_json: JSONFlag = False,
) -> None:
    """List deliveries that were given up."""
    path = f"/api/alarm-deliveries?state=dead&limit={limit}"
    _show(ServerClient(url, api_key_file).get(path), _DELIVERIES, as_json)


@app.command("test")
def test_route(
    route_id: Annotated[int, typer.Argument(help="The number that `routes` shows.")],
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    *,
    as_json: JSONFlag = False,
) -> None:
    """Send a test along a route."""
    _confirm(ServerClient(url, api_key_file).post(f"/api/alarm-routes/{route_id}/test"), as_json)


@app.command("resend")
def resend_delivery(
    delivery_id: Annotated[int, typer.Argument(help="The number that `dead` shows.")],
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    *,
    as_json: JSONFlag = False,
) -> None:
    """Try a delivery again that was given up."""
    answer = ServerClient(url, api_key_file).post(f"/api/alarm-deliveries/{delivery_id}/resend")
    _confirm({**answer, "message": f"Delivery {delivery_id} waits to be sent"}, as_json)


@app.command("acknowledge")
def acknowledge_alarm(
    alarm_id: Annotated[int, typer.Argument(help="The number that `list` shows.")],
    by: Annotated[str | None, typer.Option("--by", help="Who takes notice.")] = None,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    *,
    as_json: JSONFlag = False,
) -> None:
    """Record who has taken notice of an alarm."""
    answer = ServerClient(url, api_key_file).post(f"/api/alarms/{alarm_id}/acknowledge", {"by": by})
    message = f"Alarm {alarm_id} was acknowledged by {answer['acknowledged_by']}"
    _confirm({**answer, "message": message}, as_json)


def _show(answer: dict[str, Any], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        echo_json(answer)
        return
    echo_table(columns, [[row[name] for name in columns] for row in answer["results"]])


def _confirm(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(answer)
    else:
        echo(answer["message"])
