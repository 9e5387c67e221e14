"""What every command shares: exit codes, answers as text or JSON, errors told once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from errors import MillwrightError
from settings import Settings, read_settings

JSONFlag = Annotated[bool, typer.Option("--json", help="Answer as one JSON document.")]


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


def exit_code(error: MillwrightError) -> ExitCode:
    """The exit code that stands for an error."""
    if error.code == "configuration":
        return ExitCode.USAGE
    return _BY_STATUS.get(error.status, ExitCode.FAILED)


def application(about: str) -> typer.Typer:
    """An empty command line with several commands."""
    return typer.Typer(help=about, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def settings_here() -> Settings:
    """The settings of the server that lives here, from the same variables it reads."""
    return read_settings(os.environ)


@contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Run a command's body; an error becomes a sentence (or its JSON body) and an exit code."""
    log_to_stderr()
    try:
        yield
    except MillwrightError as error:
        tell_error(error, as_json)
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


def log_to_stderr() -> None:
    """Standard output belongs to the answer; of the log, a command shows warnings only."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def in_rounds(
    one_round: Callable[[], ExitCode], interval_s: float, *, for_ever: bool, as_json: bool
) -> ExitCode:
    """One round; or rounds so many seconds apart, of which one that fails is told and the next comes."""
    while for_ever:
        began = time.monotonic()
        try:
            one_round()
        except MillwrightError as error:
            tell_error(error, as_json)
        time.sleep(max(0.0, interval_s - (time.monotonic() - began)))
    return one_round()


def tell_error(error: MillwrightError, as_json: bool) -> None:
    """Say what went wrong: JSON to stdout for machines, else sentences to stderr."""
    if as_json:
        say_json(error.body())
        return
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[red]{escape(error.message)}[/red]")
    for sentence in error.facts.get("validation_errors") or error.facts.get("problems") or ():
        console.print(f"  {escape(str(sentence))}")


def say_json(document: Any) -> None:
    """One JSON document to stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=_plain, indent=2) + "\n")


def say(sentence: str) -> None:
    """One line for a person."""
    Console(soft_wrap=True, highlight=False).print(escape(sentence))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for a person; wide enough for every column where the output is no terminal."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def _plain(value: Any) -> str:
    """What JSON has no word for: times in RFC 3339, the rest as text."""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def leave(code: ExitCode) -> NoReturn:
    """End the command."""
    raise typer.Exit(code)
