"""Train when enough new scored records have come: once (for cron) or on a schedule of its own.

Exit codes: 0 trained and promoted, 1 failed, 2 wrong use, 3 nothing to do yet, 4 trained but not promoted,
5 another training went on too long, 6 records refused, 7 no such file, 8 not allowed, 9 no server answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.client import TrainingClient, open_client
from cli.console import JSONFlag, leave, say, say_json, told
from cli.training import cron as cron_module
from cli.training.incremental import IncrementalPolicy, RunResult, ScoreCondition, run_incremental
from cli.training.notify import notify
from cli.training.sources import FileSource, FolderSource, QuerySource, RecordSource
from errors import ConfigurationError

WATCH = "every 10s"

FileOption = Annotated[Path | None, typer.Option(help="A CSV or JSON file of scored records.")]
FolderOption = Annotated[Path | None, typer.Option(help="A folder of such files.")]
SqlOption = Annotated[str, typer.Option(help="SQLAlchemy URL of a database that exists; needs --query.")]
QueryOption = Annotated[str, typer.Option(help="SELECT whose columns are named like the API's fields.")]
LeastOption = Annotated[int, typer.Option(min=1, help="New records it takes to train.")]
UrgentOption = Annotated[
    list[str] | None,
    typer.Option(help="Train at once on a new record like 'process_safety_score>=5'; may be repeated."),
]
ScheduleOption = Annotated[
    str, typer.Option(help="'every 1h', 'daily 02:00', 'sun 02:00' or 'mon-fri 06:30'; without it: once.")
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Look every ten seconds.")]
SkipOption = Annotated[
    bool, typer.Option("--skip-invalid", help="Leave records at fault out instead of refusing all.")
]
WaitOption = Annotated[float, typer.Option(min=0, help="Seconds to wait for another training to end.")]
UrlOption = Annotated[
    str | None, typer.Option(help="A server; default: the one that runs here, else this process.")
]
KeyOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="File with an API key (role train).")
]
InProcessOption = Annotated[bool, typer.Option("--in-process", help="Use no server.")]
SuccessOption = Annotated[
    str,
    typer.Option(
        help="Command (run without a shell; for | or > use sh -c) or URL that gets the result as JSON."
    ),
]
FailureOption = Annotated[str, typer.Option(help="The same, where the training failed.")]


@dataclass(frozen=True)
class Listener:
    """Who is told how a round ended."""

    on_success: str
    on_failure: str
    as_json: bool
    quiet: bool

    def hear(self, result: RunResult) -> None:
        """Tell the hook, then the terminal; a scheduled round that had nothing to do stays silent."""
        document = result.to_dict()
        idle = result.outcome == "nothing_to_do"
        hook = self.on_failure if result.error else self.on_success
        if hook and not idle and (trouble := notify(hook, document)):
            document["hook_error"] = trouble
            typer.echo(f"Warning: the hook failed: {trouble}", err=True)
        if self.as_json and not (idle and self.quiet):
            say_json(document)
        elif not (idle and self.quiet):
            _say_round(document)


def main(
    *,
    file: FileOption = None,
    folder: FolderOption = None,
    sql: SqlOption = "",
    query: QueryOption = "",
    least: LeastOption = 10,
    urgent: UrgentOption = None,
    schedule: ScheduleOption = "",
    watch: WatchOption = False,
    skip_invalid: SkipOption = False,
    wait: WaitOption = 300,
    url: UrlOption = None,
    api_key_file: KeyOption = None,
    in_process: InProcessOption = False,
    on_success: SuccessOption = "",
    on_failure: FailureOption = "",
    as_json: JSONFlag = False,
) -> None:
    """Train when enough new scored records have come."""
    with told(as_json):
        words = schedule or (WATCH if watch else "")
        policy = IncrementalPolicy(least, tuple(map(ScoreCondition.parse, urgent or ())), skip_invalid, wait)
        listener = Listener(on_success, on_failure, as_json, quiet=bool(words))
        desk = partial(open_client, url, api_key_file, in_process)
        one_round = partial(_one_round, _source(file, folder, sql, query), desk, policy, listener)
        if not words:
            leave(one_round().exit)
        jobs = [(words, one_round)]
        if policy.urgent and words != WATCH:
            jobs.append((WATCH, partial(one_round, only_urgent=True)))
        cron_module.run_on_schedule(jobs)


def _one_round(
    source: RecordSource,
    desk: Callable[[], TrainingClient],
    policy: IncrementalPolicy,
    listener: Listener,
    only_urgent: bool = False,
) -> RunResult:
    result = run_incremental(source, desk, policy, only_urgent)
    listener.hear(result)
    return result


def _source(file: Path | None, folder: Path | None, sql: str, query: str) -> RecordSource:
    if sum(map(bool, (file, folder, sql))) != 1 or bool(sql) != bool(query):
        raise ConfigurationError(
            "Name one source: --file FILE, --folder FOLDER, or --sql URL with --query SELECT"
        )
    if file:
        return FileSource(file)
    return FolderSource(folder) if folder else QuerySource(sql, query)


def _say_round(document: dict[str, Any]) -> None:
    for sentence in document["left_out"]:
        say(f"Left out: {sentence}")
    read, new = document["records_read"], document["records_new"]
    if document["error"] is None:
        say(f"{read} records read, {new} of them new ({document['where']})")
    for session in document["sessions"]:
        say(f"Session {session['training_session_id']}: {session['message']}")
        for reason in () if session.get("promoted") else session.get("reasons", ()):
            say(f"  {reason}")
    error = document["error"]
    if error:
        say(f"Failed: {error['error']}")
        for sentence in error.get("validation_errors", ()):
            say(f"  {sentence}")
    if document["outcome"] == "nothing_to_do":
        say("Not enough for a training yet.")


if __name__ == "__main__":
    typer.run(main)
