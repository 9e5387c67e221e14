"""``millwright mcp``: serve tools over stdio, or over streamable HTTP on this machine."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.client import local_server_url, read_api_key
from cli.console import ApiKeyOption, CommandGroup, UrlOption
from cli.mcp.confirmation import Confirmations
from errors import MillwrightError, MissingExtra
from millwright_client import Answer, ApiError, Millwright
from settings import VERSION

if TYPE_CHECKING:
    from mcp.server import MCPServer

app = CommandGroup("Serve tools of the Model Context Protocol over a running server.")

HOST = "127.0.0.1"
READING = (
    "get_status", "list_models", "compare_versions", "predict", "explain_prediction", "list_sessions",
    "get_session", "list_backups", "preview_restore", "list_datasets",
)  # fmt: skip
PLANT = ("get_asset_health", "list_sensors", "get_readings", "list_anomalies")
CHANGING = (
    "start_training", "train_damage_model", "undo_session", "promote_version", "create_backup",
    "restore_backup", "judge_anomaly",
)  # fmt: skip
INSTRUCTIONS = """\
Millwright trains, serves and monitors models of an industrial plant. Begin with get_status and list_models. Tools \
that change something answer the first call with what would change and a confirmation; show that to the user, and \
call again with it only if they agree. Error messages say what is wrong and what to do."""


@app.command()
def serve_tools(
    *,
    http: Annotated[
        int | None,
        typer.Option(
            min=1, max=65_535, help="Serve streamable HTTP on this port of 127.0.0.1; default: stdio."
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Leave out tools that change something.")
    ] = False,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
) -> None:
    """Serve tools over stdio, for a program that starts this command, or over HTTP on this machine."""
    key = None if api_key_file is None else read_api_key(api_key_file)
    client = Millwright(url or local_server_url(), key, show_progress=False)
    server = build_server(client, read_only=read_only)
    if http is None:
        server.run("stdio")
    else:
        typer.echo(f"Tools at http://{HOST}:{http}/mcp", err=True)
        server.run("streamable-http", host=HOST, port=http)


def build_server(client: Millwright, *, read_only: bool = False) -> MCPServer:
    """Return an MCP server whose tools ask a Millwright server.

    Raises
    ------
    MissingExtra
        The package mcp is not installed.
    """
    try:
        from mcp.server import MCPServer
        from mcp_types import ToolAnnotations
    except ImportError as error:
        raise MissingExtra(
            "`millwright mcp` needs the package mcp: in the project's folder, run "
            f"{sys.executable} -m pip install -e '.[mcp]'"
        ) from error
    from cli.mcp.changing import ChangingTools
    from cli.mcp.plant import PlantTools
    from cli.mcp.reading import ReadingTools

    server = MCPServer("millwright", version=VERSION, instructions=INSTRUCTIONS, log_level="WARNING")
    for tools, names in ((ReadingTools(client), READING), (PlantTools(client), PLANT)):
        for name in names:
            server.add_tool(_guard(getattr(tools, name)), annotations=ToolAnnotations(read_only_hint=True))
    changing = ChangingTools(client, Confirmations())
    for name in () if read_only else CHANGING:
        annotations = ToolAnnotations(read_only_hint=False, destructive_hint=name != "create_backup")
        server.add_tool(_guard(getattr(changing, name)), annotations=annotations)
    return server


def _guard(tool: Callable[..., Answer]) -> Callable[..., Answer]:
    """Return a tool whose errors reach the model as sentences; the package hides other exceptions."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def call(*args: object, **arguments: object) -> Answer:
        try:
            return tool(*args, **arguments)
        except (ApiError, MillwrightError, ValueError, TypeError) as error:
            raise ToolError(str(error)) from error

    return call
