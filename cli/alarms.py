"""``millwright alarms``: what was raised, where it goes, and what did not arrive."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer

from cli.client import ServerClient
from cli.console import ApiKeyOption, CommandGroup, JSONFlag, UrlOption, echo, echo_result, echo_rows

app = CommandGroup("Show alarms and their routes, and send again what did not arrive.")

MAX_LIMIT = 1_000
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most so many.")]
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
    query = {"acknowledged": "false"} if is_open else {}
    client = ServerClient(url, api_key_file)
    _show(client, "/api/alarms", query, columns=_ALARMS, limit=limit, as_json=as_json)


@app.command("routes")
def list_routes(
    url: UrlOption = None, api_key_file: ApiKeyOption = None, *, as_json: JSONFlag = False
) -> None:
    """List the routes, and how each is doing."""
    client = ServerClient(url, api_key_file)
    _show(client, "/api/alarm-routes", {}, columns=_ROUTES, limit=MAX_LIMIT, as_json=as_json)


@app.command("dead")
def list_dead(
    limit: LimitOption = 20,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    *,
    as_json: JSONFlag = False,
) -> None:
    """List deliveries that were given up."""
    client, query = ServerClient(url, api_key_file), {"state": "dead"}
    _show(client, "/api/alarm-deliveries", query, columns=_DELIVERIES, limit=limit, as_json=as_json)


@app.command("test")
def test_route(
    route_id: Annotated[int, typer.Argument(help="The number that `routes` shows.")],
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    *,
    as_json: JSONFlag = False,
) -> None:
    """Send a test along a route."""
    echo_result(as_json, **ServerClient(url, api_key_file).post(f"/api/alarm-routes/{route_id}/test"))


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
    echo_result(as_json, **{**answer, "message": f"Delivery {delivery_id} waits to be sent"})


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
    echo_result(as_json, **{**answer, "message": message})


def _show(
    client: ServerClient,
    path: str,
    query: dict[str, str],
    *,
    columns: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Write the first rows of a list, and for a person how many more there are."""
    page = client.get(f"{path}?{urlencode({**query, 'limit': limit})}")
    echo_rows(as_json, page, columns, [[row[name] for name in columns] for row in page["results"]])
    if as_json or page["next_cursor"] is None:
        return
    rest = client.get(f"{path}?{urlencode({**query, 'limit': MAX_LIMIT, 'cursor': page['next_cursor']})}")
    count = len(rest["results"])
    if rest["next_cursor"] is None and limit + count <= MAX_LIMIT:
        echo(f"… and {count:,} more: --limit {limit + count} shows all")
    else:
        least = "" if rest["next_cursor"] is None else "at least "
        echo(f"… and {least}{count:,} more: GET {path} returns all, page by page")
