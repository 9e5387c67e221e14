"""C-MAPSS with the literature's protocol: last cycle of each test engine, RMSE and NASA score.

``python -m benchmarks.rul.cmapss --data FOLDER --sets FD001 FD003 --seeds 1 2 3 4 5``

Targets are capped at 125 cycles in training; the test label is taken both capped at 125 and raw. Of the
training engines 15 % choose the epoch and calibrate the intervals. ``--cross-validate`` measures a set-up on
training engines alone (five folds, every third cycle from 145 to 7 before the failure): that is how the
set-ups below were chosen. ``--conditions 6`` runs FD001's or FD003's engines under six invented operating
conditions, as FD002 and FD004 do. Rows are appended to ``--out`` as JSON lines.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prediction.options import load_options
from prediction.rul.data.collect import DeviceHistory
from prediction.rul.data.splits import DeviceSplit, split_by_device
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation.metrics import nasa_score
from prediction.rul.options import RulOptions
from prediction.rul.prepare import PreparedFleet, prepare_devices
from prediction.rul.training import predict_hours, train_networks
from storage.devices.telemetry import DeviceTelemetry

CAP, CRITICAL = 125.0, 10.0
# Altitude, Mach number and throttle of FD002 and FD004.
FLIGHTS = np.array(
    [(0, 0, 100), (10, 0.25, 100), (20, 0.7, 100), (25, 0.62, 60), (35, 0.84, 100), (42, 0.84, 100)]
)
HOUR = 3_600_000_000
VALIDATION, FOLDS = 0.15, 5
CYCLES = {"prediction_horizon_hours": CAP, "min_history": 10}
COMMON = {**CYCLES, "stride": 2, "batch_size": 256}
# Chosen by cross-validation on training engines.
SETUPS: dict[str, dict[str, Any]] = {
    "defaults": CYCLES,
    "mlp": {
        **COMMON,
        "model_type": "mlp",
        "sequence_length": 50,
        "smoothing": 10,
        "use_age": True,
        "every": 5,
        "hidden_size": 256,
        "dropout": 0.3,
        "epochs": 30,
        "learning_rate": 0.002,
        "schedule": "cosine",
        "early_stopping_patience": 0,
    },
    "lstm": {
        **COMMON,
        "model_type": "lstm",
        "sequence_length": 30,
        "smoothing": 10,
        "use_age": True,
        "hidden_size": 64,
        "epochs": 30,
        "learning_rate": 0.002,
        "schedule": "cosine",
        "early_stopping_patience": 0,
        "stride": 3,
    },
}


def engines(folder: Path, name: str, conditions: int, blur: float = 0.0) -> Iterator[DeviceHistory]:
    """Training engines with their failure, test engines with the failure that the label file tells."""
    left = np.loadtxt(_opened(folder, f"RUL_{name}"))
    chance = np.random.default_rng(7)
    shifts = chance.uniform(-1, 1, (conditions, 21)), chance.uniform(0.5, 2, (conditions, 21))
    for kind in ("train", "test"):
        table = np.loadtxt(_opened(folder, f"{kind}_{name}"))
        scale = np.abs(table[:, 5:]).mean(axis=0)
        for unit in np.unique(table[:, 0]).astype(int):
            rows = table[table[:, 0] == unit]
            values = rows[:, 2:]
            if conditions > 1:
                values = _under_conditions(values, scale, shifts, blur, chance)
            channels = (*(f"setting_{n}" for n in (1, 2, 3)), *(f"sensor_{n}" for n in range(1, 22)))
            device = f"{name}-test-{unit:03d}" if kind == "test" else f"{name}-{unit:03d}"
            times = rows[:, 1].astype(np.int64) * HOUR
            recorded = DeviceTelemetry(device, np.arange(len(rows)), times, channels, values)
            end = times[-1] + (HOUR * int(left[unit - 1]) if kind == "test" else 0)
            yield DeviceHistory(recorded, [(int(end), True)])


def _under_conditions(
    values: np.ndarray, scale: np.ndarray, shifts: Any, blur: float, chance: Any
) -> np.ndarray:
    """Return the same engine, each cycle under one of several conditions: every sensor is moved and stretched.

    Six have the settings of FD002 and FD004; ``blur`` is the settings' noise as a share of their range.
    """
    place = chance.integers(0, len(shifts[0]), len(values))
    centres = FLIGHTS if len(shifts[0]) == len(FLIGHTS) else np.arange(len(shifts[0]))[:, None] * FLIGHTS[1]
    noise = 0.002 + blur * np.ptp(centres, axis=0)
    settings = centres[place] + chance.normal(0, 1, (len(values), 3)) * noise
    centre = scale * shifts[0][place]
    return np.hstack([settings, centre + values[:, 3:] * shifts[1][place]])


def _opened(folder: Path, name: str) -> Any:
    plain = folder / f"{name}.txt"
    return plain.open() if plain.exists() else gzip.open(folder / f"{name}.txt.gz", "rt")


def errors(answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """RMSE and NASA score under both conventions of the test label."""
    capped = np.minimum(truth, CAP)
    return {
        "rmse_capped": round(float(np.sqrt(((answers - capped) ** 2).mean())), 3),
        "rmse_raw": round(float(np.sqrt(((answers - truth) ** 2).mean())), 3),
        "nasa_capped": round(nasa_score(capped, answers), 1),
        "nasa_raw": round(nasa_score(truth, answers), 1),
    }


def end_of_life(answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return how many moments with at most 10 cycles left are called critical, and by how much they are called late."""
    near = truth <= CRITICAL
    return {
        "critical": int(near.sum()),
        "critical_found": int((answers[near] <= CRITICAL).sum()),
        "critical_late": round(float(np.maximum(answers - truth, 0.0)[near].mean()), 2),
    }


def split(fleet: list[DeviceHistory], seed: int, served: bool) -> DeviceSplit:
    """Training engines for learning and for choosing, and the test engines."""
    names = [one.telemetry.device_id for one in fleet]
    known = [place for place, name in enumerate(names) if not is_test(name)]
    tests = [place for place, name in enumerate(names) if is_test(name)]
    if served:
        train, validation, _ = split_by_device([names[place] for place in known], seed)
        return [known[place] for place in train], [known[place] for place in validation], tests
    learnt = np.random.default_rng(seed).permutation(known)
    cut = round(VALIDATION * len(learnt))
    return learnt[cut:].tolist(), learnt[:cut].tolist(), tests


def is_test(name: str) -> bool:
    """Whether an engine is one of the test file, as `import_telemetry.py` names it."""
    return "-test-" in name


def last_cycles(test: FleetSplit) -> FleetSplit:
    """Return the last row of each engine."""
    return FleetSplit(test.runs, test.rows[test.runs.cycles_to_end[test.rows] == 0])


def measure(fleet: list[DeviceHistory], options: dict[str, Any], seed: int, served: bool) -> dict[str, Any]:
    """Train with one seed and score the last cycle of every test engine."""
    began = time.monotonic()
    prepared = prepare_devices(fleet, {**options, "seed": seed}, split(fleet, seed, served))
    prepared_s = time.monotonic() - began
    model = train_networks(prepared.train, prepared.validation, {**options, "seed": seed})
    seconds = time.monotonic() - began
    test = last_cycles(prepared.test)
    answers = predict_hours(model.network, test, CAP)
    tests = [one for one in fleet if is_test(one.telemetry.device_id)]
    truth = np.array([(one.ends[0][0] - one.telemetry.times[-1]) / HOUR for one in tests])
    low, high = model.residuals.interval(answers, 0.9, CAP)
    covered = (np.minimum(truth, CAP) >= low) & (np.minimum(truth, CAP) <= high)
    return {
        **errors(answers, truth), **end_of_life(answers, truth), "coverage_90": float(covered.mean()),
        "seconds": round(seconds, 1), "prepare_seconds": round(prepared_s, 1), **memory(prepared),
    }  # fmt: skip


def memory(prepared: PreparedFleet) -> dict[str, Any]:
    """How much the windows are, and how much of it is held."""
    fleet, count = prepared.train.runs, len(prepared.train)
    return {
        "conditions": prepared.facts["conditions"],
        "windows": count,
        "held_mb": round(fleet.matrix.nbytes / 1e6, 2),
        "windows_mb": round(count * fleet.window * fleet.matrix.shape[1] * 4 / 1e6, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def cross_validated(fleet: list[DeviceHistory], options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the error on held-out training engines at many moments of their lives."""
    train = [one for one in fleet if not is_test(one.telemetry.device_id)]
    order = np.random.default_rng(7).permutation(len(train))
    squares, ends, began = [], [], time.monotonic()
    for fold in range(FOLDS):
        held = order[fold::FOLDS].tolist()
        rest = [place for place in order.tolist() if place not in held]
        cut = round(VALIDATION * len(rest))
        prepared = prepare_devices(train, {**options, "seed": seed}, (rest[cut:], rest[:cut], held))
        model = train_networks(prepared.train, prepared.validation, {**options, "seed": seed})
        whole, test = prepared.test.runs, prepared.test
        left = whole.cycles_to_end[test.rows]
        chosen = test.rows[
            (left >= 7) & (left <= 145) & (left % 3 == 1) & (whole.cycles_since_start[test.rows] > 30)
        ]
        part = FleetSplit(whole, chosen)
        squares.append(np.mean((predict_hours(model.network, part, CAP) - part.targets) ** 2))
        near = FleetSplit(whole, test.rows[left <= CRITICAL])
        ends.append((predict_hours(model.network, near, CAP), near.targets))
    rmse = round(float(np.sqrt(np.mean(squares))), 3)
    near_end = end_of_life(*(np.concatenate(side) for side in zip(*ends, strict=True)))
    return {"cv_rmse": rmse, **near_end, "seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    """Measure what is asked, one row at a time, and tell mean and spread over the seeds."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with train_FD001.txt or .txt.gz, …")
    command.add_argument("--sets", nargs="+", default=["FD001", "FD003"])
    command.add_argument("--setups", nargs="+", default=["mlp"], choices=sorted(SETUPS))
    command.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    command.add_argument("--conditions", type=int, default=1, help="invent so many operating conditions")
    command.add_argument("--blur", type=float, default=0.0, help="noise of their settings, of the range")
    command.add_argument("--cross-validate", action="store_true")
    command.add_argument("--served", action="store_true", help="split engines as the server does")
    command.add_argument("--options", type=json.loads, default={}, help="JSON, on top of the set-up")
    command.add_argument("--out", type=Path, help="file to append rows to")
    asked = command.parse_args()
    torch.set_num_threads(1)
    work = cross_validated if asked.cross_validate else partial(measure, served=asked.served)
    for name in asked.sets:
        found = engines(asked.data, name, asked.conditions, asked.blur)
        fleet = sorted(found, key=lambda one: one.telemetry.device_id)
        for setup in asked.setups:
            options = load_options(RulOptions, {**SETUPS[setup], **asked.options})
            about = {"set": name, "setup": setup, "options": asked.options, "served": asked.served}
            about |= {"invented": asked.conditions, "blur": asked.blur}
            rows = []
            for seed in asked.seeds:
                rows.append({**about, "seed": seed, **work(fleet, options, seed)})
                tell(rows[-1], asked.out)
            tell(summary(about, rows), asked.out)


def tell(row: dict[str, Any], out: Path | None) -> None:
    """One line of JSON, printed and kept."""
    print(json.dumps(row), flush=True)
    if out:
        with out.open("a") as lines:
            lines.write(json.dumps(row) + "\n")


def summary(about: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of every figure over the seeds."""
    names = [name for name in rows[0] if name not in {*about, "seed"}]
    values = {name: np.array([row[name] for row in rows]) for name in names}
    return {**about, "seeds": len(rows), **{
        name: [round(float(v.mean()), 3), round(float(v.std(ddof=1)), 3) if len(v) > 1 else 0.0]
        for name, v in values.items()
    }}  # fmt: skip


if __name__ == "__main__":
    main()
