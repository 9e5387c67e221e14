"""Assemble the ``millwright`` command.

The groups are imported when they are used: shell completion and ``millwright --help`` start Python for every
keystroke, and importing the training manager alone takes a second.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from settings import VERSION

# Module with the group's ``app``, and its help text.
COMMANDS = {
    "serve": ("cli.serve", "Start the server in the foreground."),
    "train": ("cli.training.commands", "Train models."),
    "predict": ("cli.predict", "Ask a model for predictions."),
    "schedule": ("cli.training.schedule", "Train models again when they need it."),
    "import": ("cli.imports.commands", "Import readings and telemetry."),
    "features": ("cli.features", "Compute features of telemetry as Parquet files."),
    "alarms": ("cli.alarms", "Show alarms and their routes, and send again what did not arrive."),
    "reports": ("cli.reports", "Write the report of a training session."),
    "export": ("cli.training.savedmodel", "Export a damage model to TensorFlow."),
    "severe-cases": (
        "cli.severe_cases",
        "Show and choose the severe cases that no version may answer safer.",
    ),
    "backups": ("cli.backups", "Manage backups of data and models, and copy the database."),
    "keys": ("cli.keys", "Manage API keys."),
    "mcp": ("cli.mcp.commands", "Serve tools of the Model Context Protocol over a running server."),
    "demo": ("cli.demo", "Create demo data, and try a server out."),
}


class LazyCommand(TyperCommand):
    """A group of commands whose module is imported when it is used."""

    def __init__(self, name: str, module: str, help_text: str) -> None:
        super().__init__(name, help=help_text)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Return the context of the real command in place of this one's."""
        app: typer.Typer = importlib.import_module(self._module).app
        return typer.main.get_command(app).make_context(info_name, args, *rest, **extra)


class _Millwright(TyperGroup):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, (module, help_text) in COMMANDS.items():
            self.add_command(LazyCommand(name, module, help_text))


app = typer.Typer(
    cls=_Millwright,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"millwright {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train, serve and monitor models of an industrial plant.

    Settings are read from MILLWRIGHT_* variables (docs/configuration.md). Every command that answers takes
    --json. Exit codes: 0 done, 1 failed, 2 wrong use, 3 nothing to do, 4 trained but not promoted, 5 busy,
    6 refused, 7 not found, 8 not allowed, 9 no server answers.
    """


def main(*command: str) -> None:
    """Run ``millwright``; with arguments, run that command with the rest of the command line."""
    for stream in (sys.stdout, sys.stderr):
        # A message that the locale cannot print must not fail a training that is done.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(args=[*command, *sys.argv[1:]], prog_name="millwright")
