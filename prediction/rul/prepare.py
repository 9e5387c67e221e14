"""From the telemetry and failures of a fleet to windows for training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import NotEnoughData
from prediction.contract import Options, Resources, TrainingSource
from prediction.neural.data import NeuralData
from prediction.records.fields import parse_instant
from prediction.rul.data.channels import find_outlier_devices, select_channels
from prediction.rul.data.collect import AGE, DataCollector, DeviceHistory, add_age, average_in_buckets
from prediction.rul.data.label import DataLabeler, LabelledDevice
from prediction.rul.data.leaks import refuse_leaks, refuse_unknown_channels
from prediction.rul.data.splits import (
    MAX_LEFT_OUT,
    MIN_DEVICES,
    DeviceSplit,
    certify,
    certify_folds,
    describe_folds,
    leave_one_out,
    split_by_device,
    too_few_message,
)
from prediction.rul.data.validate import DataValidator, ValidationReport, make_finding
from prediction.rul.data.windows import DeviceRun, FleetSplit, WindowedRuns, make_split, warm_up_rows
from prediction.rul.evaluation.baselines import predict_baselines
from prediction.rul.metadata import FleetFacts
from prediction.rul.options import describe_rows
from prediction.rul.preprocessing.condition_detection import find_hidden_conditions
from prediction.rul.preprocessing.preprocessor import Preprocessor
from prediction.telemetry import join_duplicates
from prediction.telemetry.conditions import OperatingConditions
from storage.db.database import Database
from storage.devices.telemetry import DeviceTelemetry

NUM_PROBES: Final = 64


@dataclass(frozen=True)
class FleetParts:
    """The windows of one split, normalised by its training devices."""

    train: FleetSplit
    validation: FleetSplit
    test: FleetSplit


@dataclass(frozen=True)
class HeldOutRows:
    """The rows of one device in the test part.

    Parameters
    ----------
    positions : int64, shape (n,)
        In the test part.
    times : int64, shape (n,)
        Microseconds since 1970.
    """

    device_id: str
    positions: NDArray[np.int64]
    times: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PreparedFleet(NeuralData):
    """A fleet's windows with what the version stores about its data.

    Parameters
    ----------
    baselines : mapping of str to ndarray
        What simple rules predict for the rows of the test part.
    probes : sequence of DeviceTelemetry
        The last rows before 64 held-out moments, as a client would send them.
    validation_report : ValidationReport
        The content of ``data_validation.json``.
    test_devices : sequence of LabelledDevice
        The test devices as they were read, for a champion with its own normalisation.
    test_numbers : sequence of int
        Their numbers in the fleet.
    folds : sequence of DeviceSplit
        Of a small fleet the splits that judge, in the order of their test devices. Then ``train`` and ``test`` hold all
        devices, and ``validation`` none.
    """

    train: FleetSplit
    validation: FleetSplit
    test: FleetSplit
    preprocessor: Preprocessor
    baselines: Mapping[str, NDArray[np.float64]]
    probes: Sequence[DeviceTelemetry]
    validation_report: ValidationReport
    facts: FleetFacts
    test_devices: Sequence[LabelledDevice]
    test_numbers: Sequence[int]
    folds: Sequence[DeviceSplit] = ()

    def rebuild_test(self, preprocessor: Preprocessor) -> FleetSplit:
        """Return the rows of the test part, normalised and cut as another model needs them."""
        runs = window_runs(self.test_devices, preprocessor)
        rows_of_test_devices = np.flatnonzero(np.isin(self.test.runs.device, self.test_numbers))
        return FleetSplit(runs, np.searchsorted(rows_of_test_devices, self.test.rows))

    def build_fold(self, fold: DeviceSplit, options: Options) -> FleetParts:
        """Return the windows of a fold; channels that change in all devices only may differ from those that serve."""
        return _build_parts(
            self.test_devices, fold, {**options, "input_size": None}, self.preprocessor.labeler
        )

    def held_out_rows(self) -> Iterator[HeldOutRows]:
        """Yield the rows of each test device."""
        for number, device in zip(self.test_numbers, self.test_devices, strict=True):
            positions = np.flatnonzero(self.test.devices == number)
            first_row = int(np.argmax(self.test.runs.device == number))
            times = device.telemetry.times[self.test.rows[positions] - first_row]
            yield HeldOutRows(device.telemetry.device_id, positions, times)


def prepare(source: TrainingSource, options: Options, resources: Resources) -> PreparedFleet:
    """Read the devices that the options name, of the tenant that the source names.

    Raises
    ------
    InvalidContent
        The telemetry of a device has errors.
    NotEnoughData
        Too few devices have failed.
    """
    url, run_dir = source["database"], Path(source["run_dir"])
    database = resources.get_or_create(f"database {url}", lambda: Database(url, run_dir))
    collector = DataCollector(database, source["tenant"], source["telemetry_up_to"])
    start, end = (
        None if options[name] is None else parse_instant(name, options[name])
        for name in ("start_date", "end_date")
    )
    prepared = prepare_devices(collector.collect(options["device_ids"], start, end), options)
    facts: FleetFacts = {
        **prepared.facts,
        "telemetry_up_to": source.get("telemetry_up_to", 0),
        "failures_up_to": source.get("failures_up_to", 0),
    }
    return replace(prepared, facts=facts, checkpoints=resources.cache_dir / "checkpoints")


def prepare_devices(
    histories: Iterable[DeviceHistory], options: Options, split: DeviceSplit | None = None
) -> PreparedFleet:
    """Validate, label, split and normalise the devices.

    Parameters
    ----------
    split : tuple of list of int, optional
        Positions of the devices (in order of their names) for training, validation and test, if the caller
        knows a better split than the one by name.
    """
    labeler = _create_labeler(options)
    validator = DataValidator(horizon_hours=labeler.horizon_hours)
    devices = list(_label_devices(histories, validator, labeler, options["window_hours"]))
    validator.raise_errors()
    excluded, trusted = options["exclude_channels"] or (), options["trusted_channels"] or ()
    refuse_unknown_channels(devices, exclude_channels=excluded, trusted_channels=trusted)
    min_rows = _min_rows(options)
    folds: list[DeviceSplit] = []
    if split is None:
        devices = _drop_outliers(_select_usable(devices, min_rows, validator), validator)
        split, folds = _choose_split([device.telemetry.device_id for device in devices], options["seed"])
    train_numbers, validation_numbers, test_numbers = map(sorted, split)
    split = train_numbers, validation_numbers, test_numbers
    train_devices = [devices[number].telemetry for number in train_numbers]
    preprocessor = fit_preprocessor(train_devices, devices, options, labeler)
    refuse_leaks(devices, labeler.horizon_hours, excluded, trusted, preprocessor.settings)
    if not preprocessor.settings:
        rows = _select_columns(train_devices, preprocessor.channels)
        validator.fleet += find_hidden_conditions(preprocessor.channels, rows)
    parts = _cut_parts(window_runs(devices, preprocessor), split, options)
    ages = _select_columns([device.telemetry for device in devices], [AGE])[:, 0]
    test_devices = [devices[number] for number in test_numbers]
    return PreparedFleet(
        train=parts.train,
        validation=parts.validation,
        test=parts.test,
        certificate=certify_folds(folds) if folds else certify(split),
        fingerprint=_fingerprint(devices),
        rows=sum(len(device.telemetry) for device in devices),
        facts=_build_facts(
            devices,
            split,
            preprocessor,
            validator,
            parts=parts,
            options=options,
            folds=folds,
        ),
        preprocessor=preprocessor,
        baselines=_predict_rules(ages, parts.train, parts.test, folds),
        probes=_select_probes(test_devices, preprocessor),
        validation_report=validator.report(),
        test_devices=test_devices,
        test_numbers=test_numbers,
        folds=folds,
    )


def fit_preprocessor(
    train: Sequence[DeviceTelemetry],
    devices: Sequence[LabelledDevice],
    options: Options,
    labeler: DataLabeler,
) -> Preprocessor:
    """Select the channels that every device has and that change; fit their normalisation to training rows."""
    channels, settings = select_channels([device.telemetry for device in devices], options)
    columns = _select_columns(train, [*channels, *settings])
    conditions = OperatingConditions.fit(
        columns[:, : len(channels)], np.nan_to_num(columns[:, len(channels) :])
    )
    varying = conditions.varying_channels()
    if not varying.any():
        raise NotEnoughData("No channel ever changes: there is nothing to learn from")
    used = [name for name, is_varying in zip(channels, varying, strict=True) if is_varying]
    if options["input_size"] not in (None, len(used), len(channels)):
        raise NotEnoughData(
            f"input_size is {options['input_size']}, but the devices have {len(channels)} channels in common, "
            f"{len(used)} of which change; leave input_size out to take them all"
        )
    return Preprocessor(
        channels=used,
        settings=settings,
        conditions=conditions.select(varying),
        window=options["sequence_length"],
        smoothing=options["smoothing"],
        window_hours=options["window_hours"],
        horizon_hours=options["prediction_horizon_hours"],
        labeler=labeler,
    )


def window_runs(devices: Sequence[LabelledDevice], preprocessor: Preprocessor) -> WindowedRuns:
    """Return the rows of all runs of all devices as network input."""
    runs = [
        DeviceRun(
            number, preprocessor.normalise(device.telemetry.select(rows)), device.labels.rul_hours[rows]
        )
        for number, device in enumerate(devices)
        for rows in device.runs()
    ]
    return WindowedRuns.from_runs(runs, preprocessor.window)


def _create_labeler(options: Options) -> DataLabeler:
    return DataLabeler(
        horizon_hours=options["prediction_horizon_hours"],
        critical_hours=options["critical_hours"],
        warning_hours=options["warning_hours"],
        censored=options["censored"],
    )


def _choose_split(names: Sequence[str], seed: int) -> tuple[DeviceSplit, list[DeviceSplit]]:
    """Return the split of the fleet; of a small one, in which all teach and all are judged, with the folds."""
    if len(names) > MAX_LEFT_OUT:
        return split_by_device(names, seed), []
    everyone = list(range(len(names)))
    return (everyone, [], everyone), leave_one_out(len(names))


def _build_parts(
    devices: Sequence[LabelledDevice], split: DeviceSplit, options: Options, labeler: DataLabeler
) -> FleetParts:
    """Return the windows of a split, normalised as its training devices teach."""
    train_devices = [devices[number].telemetry for number in split[0]]
    preprocessor = fit_preprocessor(train_devices, devices, options, labeler)
    return _cut_parts(window_runs(devices, preprocessor), split, options)


def _cut_parts(runs: WindowedRuns, split: DeviceSplit, options: Options) -> FleetParts:
    """Return the windows of each part; NotEnoughData where a part with devices has none."""
    train, validation, test = split
    min_rows = _min_rows(options)
    parts = FleetParts(
        make_split(runs, train, options["stride"], min_rows),
        make_split(runs, validation, 1, min_rows),
        make_split(runs, test, 1, min_rows),
    )
    _require_windows(training=parts.train, test=parts.test)
    if validation:
        _require_windows(validation=parts.validation)
    return parts


def _min_rows(options: Options) -> int:
    """Return the rows of a run that a moment needs up to it."""
    rows: int = options["min_history"] or options["sequence_length"]
    return rows


def _predict_rules(
    ages: NDArray[np.float64], train: FleetSplit, test: FleetSplit, folds: Sequence[DeviceSplit]
) -> dict[str, NDArray[np.float64]]:
    """Return what simple rules predict for the test rows; of a fold's test device, from all other devices."""
    if not folds:
        return predict_baselines(ages[train.rows], train.targets, ages[test.rows])
    parts = []
    for _, _, held_out in folds:
        others = FleetSplit(train.runs, train.rows[~np.isin(train.devices, held_out)])
        rows = test.rows[np.isin(test.devices, held_out)]
        parts.append(predict_baselines(ages[others.rows], others.targets, ages[rows]))
    # The rows of a device lie together, in the order of the folds.
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _label_devices(
    histories: Iterable[DeviceHistory],
    validator: DataValidator,
    labeler: DataLabeler,
    window_hours: float,
) -> Iterator[LabelledDevice]:
    """Validate every device; yield those with at least one row that has a target."""
    for history in histories:
        validator.check(history)
        telemetry = average_in_buckets(join_duplicates(history.telemetry), window_hours)
        labels = labeler.label(telemetry.times, history.ends)
        if np.isfinite(labels.rul_hours).any():
            yield LabelledDevice(add_age(telemetry, history.ends), labels)


def _select_usable(
    devices: Sequence[LabelledDevice], min_rows: int, validator: DataValidator
) -> list[LabelledDevice]:
    """Return the devices with a run that is long enough.

    Raises
    ------
    NotEnoughData
        They are too few to split.
    """
    usable = [device for device in devices if device.is_usable(min_rows)]
    if len(usable) < MIN_DEVICES:
        short = len(devices) - len(usable)
        hint = f"; {short} have no run of {min_rows} rows (min_history, or sequence_length)" if short else ""
        raise NotEnoughData(f"{too_few_message(len(usable))}. {validator.describe_fleet()}{hint}")
    return usable


def _drop_outliers(devices: list[LabelledDevice], validator: DataValidator) -> list[LabelledDevice]:
    """Leave out the few devices that lack channels which most have, and warn about each of them."""
    outliers = find_outlier_devices([device.telemetry for device in devices])
    if len(devices) - len(outliers) < MIN_DEVICES:
        return devices
    for number, missing in outliers.items():
        message = f"it has no {', '.join(missing[:10])}, which most devices have, and is left out"
        validator.warn(devices[number].telemetry, make_finding("channels", 1, message))
    return [device for number, device in enumerate(devices) if number not in outliers]


def _select_columns(fleet: Sequence[DeviceTelemetry], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the values of these channels of all devices, shape (rows, names)."""
    return np.concatenate(
        [device.values[:, [device.channels.index(name) for name in names]] for device in fleet]
    )


def _select_probes(devices: Sequence[LabelledDevice], preprocessor: Preprocessor) -> list[DeviceTelemetry]:
    """Return evenly spread moments of held-out devices, each with the rows a client should send."""
    length = preprocessor.window + warm_up_rows(preprocessor.smoothing)
    moments = [
        (device.telemetry, rows, end)
        for device in devices
        for rows in device.runs()
        for end in range(len(rows))
    ]
    positions = np.linspace(0, len(moments) - 1, NUM_PROBES).round().astype(int)
    probes = []
    for position in positions:
        telemetry, rows, end = moments[position]
        probes.append(telemetry.select(rows[max(0, end + 1 - length) : end + 1]))
    return probes


def _require_windows(**parts: FleetSplit) -> None:
    for name, part in parts.items():
        if not len(part):
            raise NotEnoughData(
                f"No window in the {name} part: the runs of its devices are shorter than sequence_length, "
                "or did not end in a failure. A shorter sequence_length or min_history may help"
            )


def _fingerprint(devices: Sequence[LabelledDevice]) -> str:
    digest = hashlib.sha256()
    for device in devices:
        telemetry, labels = device.telemetry, device.labels
        digest.update(repr((telemetry.device_id, telemetry.channels)).encode())
        for array in (telemetry.times, telemetry.values, labels.hours_left, labels.censored):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _build_facts(
    devices: Sequence[LabelledDevice],
    split: DeviceSplit,
    preprocessor: Preprocessor,
    validator: DataValidator,
    *,
    parts: FleetParts,
    options: Options,
    folds: Sequence[DeviceSplit],
) -> FleetFacts:
    train_names, validation_names, test_names = (
        [devices[number].telemetry.device_id for number in part] for part in split
    )
    if folds:
        # What serves has learnt from all devices of a small fleet: none is held out from it.
        test_names = []
    report = validator.report()
    return {
        "devices": {"train": train_names, "validation": validation_names, "test": test_names},
        "windows": {
            "train": len(parts.train),
            "validation": len(parts.validation),
            "test": len(parts.test),
        },
        "failures": sum(
            int(device.labels.run[-1] - device.labels.run[0] + (not device.labels.censored[-1]))
            for device in devices
        ),
        "channels": list(preprocessor.channels),
        "settings": list(preprocessor.settings),
        "all_channels": sorted(set.intersection(*(set(device.telemetry.channels) for device in devices))),
        "conditions": len(preprocessor.conditions.centres),
        "first": int(min(device.telemetry.times[0] for device in devices)),
        "last": int(max(device.telemetry.times[-1] for device in devices)),
        "data_validation": {
            "valid": report["valid"],
            "counts": report["counts"],
            "fleet": report["fleet"],
            "devices_with_findings": report["devices_with_findings"],
        },
        "split_note": describe_folds(len(folds)),
        "window_note": describe_rows(options),
    }
