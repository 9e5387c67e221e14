"""``millwright import lookout``: turn labels and a retraining schedule into the options of an asset's model.

The telemetry itself is imported by ``millwright import telemetry --format lookout``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.console import ExitCode, JSONFlag, echo_json, echo_result
from cli.imports.record_files import read_json_object
from cli.imports.telemetry_files import read_label_file
from errors import DataFileInvalid, InvalidContent
from prediction import registry
from storage.filesystem.checked_write import save_json

_DURATION: Final = re.compile(r"P(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})D)?")
_DAYS_PER_UNIT: Final = (365, 30, 1)
_PROMOTE_MODES: Final = ("MANAGED", "MANUAL")
_STOPPED: Final = ("STOPPED", "STOPPING")


def import_lookout(
    labels: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="Label file: start,end without a header."),
    ] = None,
    *,
    schedule: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="What describe-retraining-scheduler returned, as JSON."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the options here, for train model --options-file.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Turn labels and a retraining schedule of Lookout for Equipment into training options.

    Nothing is stored on the server: check the options, then train with them.
    """
    if labels is None and schedule is None:
        raise InvalidContent("Name a label file, --schedule, or both")
    options: dict[str, object] = {}
    windows = read_label_file(labels) if labels is not None else []
    if labels is not None:
        options["labels"] = [
            {"start": start.isoformat(), "end": end.isoformat(), "kind": "failure"} for start, end in windows
        ]
    if schedule is not None:
        options |= read_schedule(schedule)
    # Raises where the server would refuse them.
    registry.create_parser("equipment").parse_options(options)
    if out is None:
        echo_json(options)
        return
    save_json(out, options)
    scheduled = len(options) - ("labels" in options)
    message = f"Wrote {len(windows):,} labels and {scheduled} options of the schedule to {out}"
    if schedule is not None and "retrain_days" not in options:
        message += (
            ". The scheduler is stopped, so retrain_days is left out: the server trains the model as it is set up "
            "(MILLWRIGHT_RETRAIN_MAX_AGE_DAYS)"
        )
    echo_result(as_json, message, file=str(out), options=options)
    raise typer.Exit(ExitCode.DONE)


def read_schedule(file: Path) -> dict[str, object]:
    """Return the options that stand for a retraining schedule.

    Raises
    ------
    DataFileInvalid
        The file is not the description of a retraining scheduler.
    """
    description = read_json_object(file)
    if "RetrainingFrequency" not in description:
        raise DataFileInvalid(
            f"{file}: there is no RetrainingFrequency: save what describe-retraining-scheduler returns"
        )
    mode = str(description.get("PromoteMode", "MANAGED")).upper()
    if mode not in _PROMOTE_MODES:
        raise DataFileInvalid(f"{file}: PromoteMode is {mode[:50]!r}, and MANAGED or MANUAL is expected")
    options: dict[str, object] = {"promote": mode.lower()}
    # The options have no word for a schedule that is stopped: without retrain_days, the server's setting decides.
    if description.get("Status") not in _STOPPED:
        options["retrain_days"] = _read_days(file, description, "RetrainingFrequency")
    if "LookbackWindow" in description:
        options["lookback_days"] = _read_days(file, description, "LookbackWindow")
    return options


def _read_days(file: Path, description: dict[str, object], field: str) -> int:
    """Return an ISO 8601 duration in days; a month counts as 30, a year as 365."""
    text = str(description[field])
    match = _DURATION.fullmatch(text)
    counts = match.groups() if match else ()
    days = sum(int(count or 0) * unit for count, unit in zip(counts, _DAYS_PER_UNIT, strict=False))
    if not days:
        raise DataFileInvalid(f"{file}: {field} is {text[:50]!r}, and a duration such as P1M is expected")
    return days
