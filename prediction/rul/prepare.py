"""Telemetry and failures of a fleet into windows for training, validation and test, split by device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import NotEnoughData
from prediction.contract import JSON, PreparedData, Resources
from prediction.records.fields import parse_instant
from prediction.rul.data.channels import find_outlier_devices, select_channels
from prediction.rul.data.collect import DataCollector, DeviceHistory, add_age, average_in_buckets
from prediction.rul.data.label import DataLabeler, RulLabels
from prediction.rul.data.splits import MIN_DEVICES, Parts, certify, split_by_device, too_few
from prediction.rul.data.validate import DataValidator, drop_duplicates, make_finding
from prediction.rul.data.windows import DeviceRun, FleetSplit, WindowedRuns, make_split, warm_up_rows
from prediction.rul.preprocessing.condition_detection import warnings
from prediction.rul.preprocessing.conditions import OperatingConditions
from prediction.rul.preprocessing.preprocessor import Preprocessor
from storage.db.database import Database
from storage.devices.telemetry import DeviceTelemetry

PROBES: Final = 64


@dataclass(frozen=True)
class LabelledDevice:
    """One device's rows with their labels."""

    recorded: DeviceTelemetry
    labels: RulLabels

    def runs(self) -> Iterator[NDArray[np.int64]]:
        """Places of the rows of each run."""
        edges = np.flatnonzero(np.diff(self.labels.run)) + 1
        yield from np.split(np.arange(len(self.recorded)), edges)

    def teaches(self, fewest: int) -> bool:
        """Whether a row has a target and so many rows of its run up to it."""
        run = self.labels.run
        age = np.arange(len(run)) - np.searchsorted(run, run, side="left") + 1
        return bool((np.isfinite(self.labels.rul_hours) & (age >= fewest)).any())


@dataclass(frozen=True, kw_only=True)
class PreparedFleet(PreparedData):
    """With how rows are served, and rows of held-out devices for the questions the saved model must answer.

    Parameters
    ----------
    serving : Serving
    probes : sequence of Recorded
        The last rows before 64 held-out moments.
    validation_report : mapping
        What ``data_validation.json`` says.
    held_out : sequence of Device
        The test devices as they were read, for a champion that normalises in its own way.
    held_out_places : sequence of int
        Their numbers in the fleet.
    checkpoints : Path, optional
        Folder in which a training leaves its epochs, to go on from there after a kill.
    """

    train: FleetSplit
    validation: FleetSplit
    test: FleetSplit
    serving: Preprocessor
    probes: Sequence[DeviceTelemetry]
    validation_report: JSON
    held_out: Sequence[LabelledDevice]
    held_out_places: Sequence[int]
    checkpoints: Path | None = None

    def refitted_for(self, serving: Preprocessor) -> FleetSplit:
        """The rows of the test part, normalised and cut as another model wants them."""
        fleet = window_runs(self.held_out, serving)
        return FleetSplit(fleet, _same_rows(self.test, self.held_out_places))


def prepare(source: JSON, options: JSON, resources: Resources) -> PreparedFleet:
    """Read the devices that the options name, below the tenant that the source names.

    Raises
    ------
    InvalidContent
        The telemetry of a device cannot be learnt from.
    NotEnoughData
        Too few devices have failed.
    """
    url, run_dir = source["database"], Path(source["run_dir"])
    database: Database = resources.get_or_create(f"database {url}", lambda: Database(url, run_dir))
    collector = DataCollector(database, source["tenant"], source["telemetry_up_to"])
    start, end = (_moment(options[name]) for name in ("start_date", "end_date"))
    prepared = prepare_devices(collector.collect(options["device_ids"], start, end), options)
    marks = {name: source.get(name, 0) for name in ("telemetry_up_to", "failures_up_to")}
    checkpoints = resources.cache_dir / "checkpoints"
    return replace(prepared, facts={**prepared.facts, **marks}, checkpoints=checkpoints)


def prepare_devices(
    collected: Iterable[DeviceHistory], options: JSON, parts: Parts | None = None
) -> PreparedFleet:
    """Validate, label, split and normalise what was collected.

    Parameters
    ----------
    parts : tuple of list of int, optional
        Places of the devices (in order of their names) for training, validation and test, where the caller
        knows better than the split by name.
    """
    labeler = make_labeler(options)
    validator = DataValidator(horizon_hours=labeler.horizon_hours)
    devices = list(_labelled(collected, validator, labeler, options["window_hours"]))
    validator.stop_at_errors()
    fewest = options["min_history"] or options["sequence_length"]
    if parts is None:
        devices = _alike(_teaching(devices, fewest, validator), validator)
    names = [device.recorded.device_id for device in devices]
    split = _in_order(parts or split_by_device(names, options["seed"]))
    serving = fit_preprocessor([devices[place].recorded for place in split[0]], devices, options, labeler)
    validator.fleet += _suspicions([devices[place].recorded for place in split[0]], serving)
    fleet = window_runs(devices, serving)
    train = make_split(fleet, split[0], options["stride"], fewest)
    validation, test = (make_split(fleet, part, 1, fewest) for part in split[1:])
    _require(train, validation, test)
    return PreparedFleet(
        train=train,
        validation=validation,
        test=test,
        certificate=certify(split),
        fingerprint=_fingerprint(devices),
        rows=sum(len(device.recorded) for device in devices),
        facts=_facts(devices, split, serving, validator, (train, validation, test)),
        serving=serving,
        probes=_probes([devices[place] for place in split[2]], serving),
        validation_report=validator.report(),
        held_out=[devices[place] for place in split[2]],
        held_out_places=split[2],
    )


def _in_order(parts: Parts) -> Parts:
    train, validation, test = parts
    return sorted(train), sorted(validation), sorted(test)


def make_labeler(options: JSON) -> DataLabeler:
    """The labeler that the options describe."""
    return DataLabeler(
        horizon_hours=options["prediction_horizon_hours"],
        critical_hours=options["critical_hours"],
        warning_hours=options["warning_hours"],
        censored=options["censored"],
    )


def _labelled(
    collected: Iterable[DeviceHistory], validator: DataValidator, labeler: DataLabeler, window_hours: float
) -> Iterator[LabelledDevice]:
    """Devices with at least one row that has a target; the others are only looked at."""
    for one in collected:
        validator.check(one)
        recorded = average_in_buckets(drop_duplicates(one.recorded), window_hours)
        recorded = add_age(recorded, one.ends)
        labels = labeler.label(recorded.times, one.ends)
        if np.isfinite(labels.rul_hours).any():
            yield LabelledDevice(recorded, labels)


def _teaching(
    devices: Sequence[LabelledDevice], fewest: int, validator: DataValidator
) -> list[LabelledDevice]:
    """Devices with a run that is long enough.

    Raises
    ------
    NotEnoughData
        Too few to split, and why.
    """
    found = [device for device in devices if device.teaches(fewest)]
    if len(found) < MIN_DEVICES:
        short = len(devices) - len(found)
        too_short = (
            f"; {short} have no run of {fewest} rows (min_history, or sequence_length)" if short else ""
        )
        raise NotEnoughData(f"{too_few(len(found))}. {validator.seen()}{too_short}")
    return found


def _alike(devices: list[LabelledDevice], validator: DataValidator) -> list[LabelledDevice]:
    """Without the few devices that lack channels which most have; each of them is warned of."""
    odd = find_outlier_devices([device.recorded for device in devices])
    if len(devices) - len(odd) < MIN_DEVICES:
        return devices
    for place, lacking in odd.items():
        said = f"it has no {', '.join(lacking[:10])}, which most devices have, and is left out"
        validator.warn(devices[place].recorded, make_finding("channels", 1, said))
    return [device for place, device in enumerate(devices) if place not in odd]


def fit_preprocessor(
    train: Sequence[DeviceTelemetry], devices: Sequence[LabelledDevice], options: JSON, labeler: DataLabeler
) -> Preprocessor:
    """Channels that every device has and that change, normalised by what training devices show."""
    channels, settings = select_channels([device.recorded for device in devices], options)
    known = np.concatenate([_columns(recorded, [*channels, *settings]) for recorded in train])
    conditions = OperatingConditions.fitted(
        known[:, : len(channels)], np.nan_to_num(known[:, len(channels) :])
    )
    varying = conditions.varying()
    if not varying.any():
        raise NotEnoughData("No channel ever changes: there is nothing to learn from")
    kept = [name for name, changes in zip(channels, varying, strict=True) if changes]
    _check_size(options["input_size"], len(kept), len(channels))
    return Preprocessor(
        channels=kept,
        settings=settings,
        conditions=conditions.only(varying),
        window=options["sequence_length"],
        smoothing=options["smoothing"],
        window_hours=options["window_hours"],
        horizon_hours=options["prediction_horizon_hours"],
        labeler=labeler,
    )


def _suspicions(train: Sequence[DeviceTelemetry], serving: Preprocessor) -> list[JSON]:
    """What speaks for operating conditions where no channel is known to tell them."""
    if serving.settings:
        return []
    rows = np.concatenate([_columns(recorded, serving.channels) for recorded in train])
    return list(warnings(serving.channels, rows))


def _check_size(asked: int | None, kept: int, all_channels: int) -> None:
    if asked is not None and asked not in (kept, all_channels):
        raise NotEnoughData(
            f"input_size is {asked}, but the devices have {all_channels} channels in common, {kept} of which "
            "change; leave input_size out to take them all"
        )


def _columns(recorded: DeviceTelemetry, names: Sequence[str]) -> NDArray[np.float64]:
    return recorded.values[:, [recorded.channels.index(name) for name in names]]


def window_runs(devices: Sequence[LabelledDevice], serving: Preprocessor) -> WindowedRuns:
    """The rows of all runs of all devices, as the network is shown them."""
    runs = [
        DeviceRun(place, serving.normalised(_rows(device.recorded, rows)), device.labels.rul_hours[rows])
        for place, device in enumerate(devices)
        for rows in device.runs()
    ]
    return WindowedRuns.of_runs(runs, serving.window)


def _same_rows(test: FleetSplit, held_out: Sequence[int]) -> NDArray[np.int64]:
    """Places of the test part's rows in a fleet of the held-out devices alone."""
    mine = np.flatnonzero(np.isin(test.fleet.device, held_out))
    found: NDArray[np.int64] = np.searchsorted(mine, test.rows)
    return found


def _rows(recorded: DeviceTelemetry, rows: NDArray[np.int64] | slice) -> DeviceTelemetry:
    values = (recorded.ids[rows], recorded.times[rows], recorded.channels, recorded.values[rows])
    return DeviceTelemetry(recorded.device_id, *values)


def _probes(devices: Sequence[LabelledDevice], serving: Preprocessor) -> list[DeviceTelemetry]:
    """Evenly spread moments of held-out devices, each with the rows a client should send."""
    length = serving.window + warm_up_rows(serving.smoothing)
    runs = [(device.recorded, rows) for device in devices for rows in device.runs()]
    ends = [(recorded, rows, end) for recorded, rows in runs for end in range(len(rows))]
    places = np.linspace(0, len(ends) - 1, PROBES).round().astype(int)
    select_channels = [ends[place] for place in places]
    return [
        _rows(recorded, rows[max(0, end + 1 - length) : end + 1]) for recorded, rows, end in select_channels
    ]


def _require(train: FleetSplit, validation: FleetSplit, test: FleetSplit) -> None:
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        if not len(part):
            raise NotEnoughData(
                f"No window in the {name} part: the runs of its devices are shorter than sequence_length, "
                "or did not end in a failure. A shorter sequence_length or min_history may help"
            )


def _moment(said: str | None) -> datetime | None:
    return None if said is None else parse_instant("date", said)


def _fingerprint(devices: Sequence[LabelledDevice]) -> str:
    digest = hashlib.sha256()
    for device in devices:
        recorded = device.recorded
        digest.update(repr((recorded.device_id, recorded.channels)).encode())
        for array in (recorded.times, recorded.values, device.labels.hours_left, device.labels.censored):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _facts(
    devices: Sequence[LabelledDevice],
    split: Parts,
    serving: Preprocessor,
    validator: DataValidator,
    parts: Iterable[FleetSplit],
) -> JSON:
    names = [device.recorded.device_id for device in devices]
    words = ("train", "validation", "test")
    return {
        "devices": {word: [names[place] for place in part] for word, part in zip(words, split, strict=True)},
        "windows": {word: len(part) for word, part in zip(words, parts, strict=True)},
        "failures": sum(
            int(d.labels.run[-1] - d.labels.run[0] + (not d.labels.censored[-1])) for d in devices
        ),
        "channels": list(serving.channels),
        "settings": list(serving.settings),
        "all_channels": sorted(set.intersection(*(set(d.recorded.channels) for d in devices))),
        "conditions": len(serving.conditions.centres),
        "first": int(min(device.recorded.times[0] for device in devices)),
        "last": int(max(device.recorded.times[-1] for device in devices)),
        "data_validation": {name: told for name, told in validator.report().items() if name != "devices"},
    }
