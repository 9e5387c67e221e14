"""What every command shares: exit codes, output as text or JSON, and error handling."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from errors import ConfigurationError, MillwrightError
from settings import PROJECT, Settings, read_settings
from storage.home import has_data
from storage.text.dates import DateOrder

if TYPE_CHECKING:
    from training_manager import TrainingManager

JSONFlag = Annotated[bool, typer.Option("--json", help="Answer as one JSON document.")]
TenantOption = Annotated[str, typer.Option(help="The tenant whose data and models are used.")]
UrlOption = Annotated[str | None, typer.Option(help="URL of the server; default: the one of this machine.")]
ApiKeyOption = Annotated[
    Path | None, typer.Option("--api-key-file", exists=True, dir_okay=False, help="File with an API key.")
]
DateOrderOption = Annotated[
    DateOrder | None,
    typer.Option("--date-order", help="Which comes first in dates such as 03/04/2024: day or month."),
]
SheetOption = Annotated[
    str | None, typer.Option(help="The sheet of a workbook; not needed where one alone has cells.")
]
SkipInvalidFlag = Annotated[
    bool, typer.Option("--skip-invalid", help="Leave out invalid records instead of refusing all.")
]


class ExitCode(IntEnum):
    """Exit codes of every command; docs/operations.md lists them for people who write cron jobs."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOTHING_TO_DO = 3
    NOT_PROMOTED = 4
    BUSY = 5
    REFUSED = 6
    NOT_FOUND = 7
    NOT_ALLOWED = 8
    UNREACHABLE = 9


_BY_STATUS = {
    400: ExitCode.REFUSED,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.BUSY,
    413: ExitCode.REFUSED,
    415: ExitCode.REFUSED,
    422: ExitCode.REFUSED,
    429: ExitCode.BUSY,
    503: ExitCode.UNREACHABLE,
}
_INTERRUPTED = 130


def exit_code(error: MillwrightError) -> ExitCode:
    """Return the exit code of an error."""
    if error.code == "configuration":
        return ExitCode.USAGE
    return _BY_STATUS.get(error.status, ExitCode.FAILED)


class _Command(TyperCommand):
    """A command whose errors become a message, or JSON, and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        log_to_stderr()
        try:
            return super().invoke(ctx)
        except MillwrightError as error:
            echo_error(error, as_json=bool(ctx.params.get("as_json")))
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(_INTERRUPTED) from error


class CommandGroup(typer.Typer):
    """A group of commands with the error handling of this project."""

    def __init__(self, help_text: str) -> None:
        super().__init__(
            help=help_text,
            no_args_is_help=True,
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode="markdown",
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        """Register a function as a command."""
        return super().command(name, cls=_Command, **options)


def load_settings() -> Settings:
    """Return the settings of the server of this installation, from the variables that it reads."""
    return read_settings(os.environ)


def load_local_settings() -> Settings:
    """Return the settings for a command that works on the home folder itself, without a server.

    Raises
    ------
    ConfigurationError
        The folder is the project's own, the default, and has no data: a cron job without the service's
        variables would otherwise start a second plant there.
    """
    settings = load_settings()
    if settings.home == PROJECT and not has_data(settings):
        raise ConfigurationError(
            f"{settings.home} has no data, and MILLWRIGHT_HOME is not set: set it to the folder with the plant's data"
        )
    return settings


@contextmanager
def local_manager() -> Iterator[TrainingManager]:
    """Open the training manager over the home folder of this installation."""
    from training_manager import open_manager

    manager = open_manager(load_local_settings())
    try:
        yield manager
    finally:
        manager.close()


def log_to_stderr() -> None:
    """Send warnings to standard error and nothing else: standard output belongs to the answer."""
    # The default would print the local variables of a traceback, which takes minutes with a plant's data in them.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.processors.add_log_level, renderer],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run_repeatedly(
    run: Callable[[], ExitCode], interval_seconds: float, *, once: bool, as_json: bool
) -> ExitCode:
    """Run once, or forever at an interval; a failed run is reported and the next one follows."""
    while not once:
        began = time.monotonic()
        try:
            run()
        except MillwrightError as error:
            echo_error(error, as_json)
        time.sleep(max(0.0, interval_seconds - (time.monotonic() - began)))
    return run()


def echo_error(error: MillwrightError, as_json: bool) -> None:
    """Write an error as JSON to standard output, or as sentences to standard error."""
    if as_json:
        echo_json(error.body())
        return
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[red]{escape(error.message)}[/red]")
    if error.detail:
        console.print(f"  {escape(error.detail)}")
    for sentence in error.facts.get("validation_errors") or error.facts.get("problems") or ():
        console.print(f"  {escape(str(sentence))}")


def echo(message: str) -> None:
    """Write one line for a person."""
    Console(soft_wrap=True, highlight=False).print(escape(message))


def echo_warning(message: str) -> None:
    """Write one line to standard error."""
    typer.echo(f"Warning: {message}", err=True)


def echo_result(as_json: bool, message: str, **facts: object) -> None:
    """Write the message for a person, or the message and facts as JSON."""
    if as_json:
        echo_json({"success": True, "message": message, **facts})
    else:
        echo(message)


def echo_json(document: object) -> None:
    """Write one JSON document."""

    def to_text(value: object) -> str:
        return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)

    # In a locale without Unicode, escapes are readable by every program and question marks by none.
    escape_unicode = (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf_8")
    sys.stdout.write(json.dumps(document, ensure_ascii=escape_unicode, default=to_text, indent=2) + "\n")


def echo_rows(
    as_json: bool, document: object, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Write the document as JSON, or its rows as a table for a person."""
    if as_json:
        echo_json(document)
    else:
        echo_table(columns, rows)


def echo_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table; where the output is no terminal, it is wide enough for every column."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(_format_cell(value)) for value in row))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def _format_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
