"""``millwright train``: train models now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.client import ServerClient, TrainingClient, open_client
from cli.console import (
    ApiKeyOption,
    CommandGroup,
    DateOrderOption,
    ExitCode,
    JSONFlag,
    SheetOption,
    SkipInvalidFlag,
    TenantOption,
    UrlOption,
    echo,
    echo_json,
    local_manager,
)
from cli.imports.record_files import read_json_object, read_records
from cli.imports.tables import QueryOption, SqlOption
from cli.training import cron, damage
from cli.training.batch_progress import report_results, train_batches
from cli.training.incremental import IncrementalPolicy, RunResult, ScoreCondition, run_incremental
from cli.training.notify import ResultNotifier
from cli.training.sources import FileSource, FolderSource, QuerySource, RecordSource, read_reports
from errors import ConfigurationError, InvalidContent, NotFound
from storage.text.dates import DateOrder

_MAX_NUMBER_DIGITS = 12
app = CommandGroup("Train models.")

POLL_SCHEDULE = "every 10s"


class SensorModelType(StrEnum):
    """Which models of a sensor."""

    ANOMALY = "anomaly"
    DRIFT = "drift"
    CALIBRATION = "calibration"
    ALL = "all"


@app.command()
def model(
    family: Annotated[str, typer.Argument(help="Family of the model, such as scoring, rul or forecasting.")],
    name: Annotated[str, typer.Argument(help="Name of the model.")] = "default",
    *,
    file: Annotated[Path | None, typer.Option(exists=True, help="New records as CSV, JSON, XLSX …")] = None,
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help='A training option NAME=VALUE; repeatable. VALUE is JSON or text; a list is \'["a", "b"]\'.'
        ),
    ] = None,
    options_file: Annotated[
        Path | None, typer.Option(exists=True, help="Training options as JSON; --option overrides it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what a training would do.")] = False,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Train one model of any family on a running server, and wait for the end."""
    options = read_json_object(options_file) if options_file is not None else {}
    body: dict[str, object] = {"options": {**options, **_parse_options(option or ())}}
    if file is not None:
        read = read_reports if family == "scoring" else read_records
        body["records"] = read(file, date_order, sheet)
    server, path = ServerClient(url, api_key_file), f"/train/{family}/{name}"
    if dry_run:
        echo_json(server.post(f"{path}?dry_run=1", body))
        return
    answer = server.train(body, path)
    if as_json:
        echo_json(answer)
    else:
        echo(str(answer["message"]))
        for reason in answer.get("reasons", ()):
            echo(f"  {reason}")
    if answer["training_session_id"] is None:
        raise typer.Exit(ExitCode.NOTHING_TO_DO)
    raise typer.Exit(ExitCode.DONE if answer["promoted"] else ExitCode.NOT_PROMOTED)


def _parse_options(texts: Sequence[str]) -> dict[str, object]:
    """Return the options of texts NAME=VALUE; a value that is JSON is read as JSON."""
    options: dict[str, object] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
        if name in options:
            example = json.dumps([options[name], value])
            raise typer.BadParameter(
                f"{name} is given twice; a list is one option, such as {name}='{example}'"
            )
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


@app.command()
def sensors(
    *,
    sensor_id: Annotated[str | None, typer.Option(help="Number or tag of the sensor.")] = None,
    all_sensors: Annotated[bool, typer.Option("--all-sensors", help="Every sensor of the tenant.")] = False,
    model_type: Annotated[SensorModelType, typer.Option(help="Which models.")] = SensorModelType.ALL,
    tenant: TenantOption = "default",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time; default: one per core.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Train anomaly, drift and calibration models of one sensor, or of all without options.

    All of them are one session: one backup and one commit. A sensor that fails stops no other.
    """
    from prediction.sensors.model_names import MODEL_KINDS, build_model_names
    from prediction.sensors.readings.reading_records import is_tag

    if sensor_id is not None and all_sensors:
        raise InvalidContent("Give either --sensor-id or --all-sensors")
    if sensor_id is None and not all_sensors and model_type is not SensorModelType.ALL:
        raise InvalidContent("Give --sensor-id or --all-sensors, or train all models of all sensors")
    with local_manager() as manager:
        store = manager.sensors.sensors
        if sensor_id is None:
            ids = store.list_ids(tenant)
        elif is_tag(sensor_id):
            ids = list(store.find_tags(tenant, [sensor_id.strip()]).values())
            if not ids:
                raise NotFound(f"There is no sensor with the tag {sensor_id}")
        else:
            if not 0 < len(sensor_id.strip()) <= _MAX_NUMBER_DIGITS:
                raise NotFound(f"There is no sensor {sensor_id[:50]!r}")
            ids = [store.get(tenant, int(sensor_id))["id"]]
        if not ids:
            raise InvalidContent("There are no sensors yet")
        kinds = MODEL_KINDS if model_type is SensorModelType.ALL else (model_type.value,)
        sessions = train_batches(manager, tenant, build_model_names(ids, kinds), jobs, quiet=as_json)
    raise typer.Exit(report_results(sessions, as_json))


@app.command()
def incremental(
    *,
    file: Annotated[Path | None, typer.Option(help="A file of scored records: CSV, JSON, XLSX …")] = None,
    folder: Annotated[Path | None, typer.Option(help="A folder of such files.")] = None,
    sql: SqlOption = "",
    query: QueryOption = "",
    min_records: Annotated[int, typer.Option(min=1, help="New records that it takes to train.")] = 10,
    train_if: Annotated[
        list[str] | None,
        typer.Option(help="Train at once on a record like 'process_safety_score>=5'; repeatable."),
    ] = None,
    schedule: Annotated[
        str, typer.Option(help="'every 1h', 'daily 02:00', 'sun 02:00', 'mon-fri 06:30'; default: once.")
    ] = "",
    poll: Annotated[bool, typer.Option("--poll", help="Look for new records every ten seconds.")] = False,
    skip_invalid: SkipInvalidFlag = False,
    date_order: DateOrderOption = None,
    sheet: SheetOption = None,
    lock_timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for another training.")] = 300,
    url: UrlOption = None,
    api_key_file: ApiKeyOption = None,
    local: Annotated[bool, typer.Option("--local", help="Train in this process, without a server.")] = False,
    on_success: Annotated[
        str,
        typer.Option(help="Command (no shell; for | or > use sh -c) or URL that gets the result as JSON."),
    ] = "",
    on_failure: Annotated[str, typer.Option(help="The same, for a training that failed.")] = "",
    as_json: JSONFlag = False,
) -> None:
    """Train the scoring model when enough new scored records have arrived: once, or on a schedule."""
    words = schedule or (POLL_SCHEDULE if poll else "")
    policy = IncrementalPolicy(
        min_records, tuple(map(ScoreCondition.parse, train_if or ())), skip_invalid, lock_timeout
    )
    notifier = ResultNotifier(on_success, on_failure, as_json, quiet=bool(words))
    source = _open_source(file, folder, sql, query, date_order=date_order, sheet=sheet)

    def run(only_urgent: bool = False) -> RunResult:
        def connect() -> TrainingClient:
            return open_client(url, api_key_file, local)

        result = run_incremental(source, connect, policy, only_urgent)
        notifier.notify(result)
        return result

    if not words:
        raise typer.Exit(run().exit_code)
    jobs = [(words, run)]
    if policy.conditions and words != POLL_SCHEDULE:
        jobs.append((POLL_SCHEDULE, partial(run, only_urgent=True)))
    cron.run_on_schedule(jobs)


def _open_source(
    file: Path | None,
    folder: Path | None,
    sql: str,
    query: str,
    *,
    date_order: DateOrder | None,
    sheet: str | None,
) -> RecordSource:
    if sum(map(bool, (file, folder, sql))) != 1 or bool(sql) != bool(query):
        raise ConfigurationError(
            "Give one source: --file FILE, --folder FOLDER, or --sql URL with --query SELECT"
        )
    if file:
        return FileSource(file, date_order, sheet)
    return FolderSource(folder, date_order, sheet) if folder else QuerySource(sql, query, date_order)


app.command("damage")(damage.train_damage)
