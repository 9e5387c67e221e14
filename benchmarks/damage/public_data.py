"""Public vibration data, five seeds, split so that no recording, run or specimen is on both sides.

``python -m benchmarks.damage.public_data --data FOLDER --sets fan joint --models cnn``

``fan``: UCI accelerometer (fan with weights), one recording a configuration and speed. The specimen is the
speed: 11 speeds are for training, 3 for validation, 3 for the test, so the test asks about speeds that were
never seen. ``fan_in_time`` is the protocol of the sanity figure and not group-safe: the last third of each
run is the test. ``joint``: QU grandstand simulator, each segment a recording, split by recording; there is
one specimen only. Options are the defaults, but for ``--epochs``. Rows go to ``--out`` as JSON lines.

``--unlike`` asks instead whether models of one set call the other set's recordings none of the known classes,
and their own test recordings known.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import table
from prediction.damage.data.preparation import (
    ImageSplit,
    PreparedRecordings,
    compute_images,
    prepare_recordings,
)
from prediction.damage.family import DamageFamily
from prediction.damage.model.fitting import compute_logits, train_damage_model
from prediction.damage.requests import DamageParser
from prediction.splits import SplitCertificate
from storage.datasets.hints import UploadHints
from storage.datasets.store import Dataset, DatasetStore

FAN_HZ, JOINT_HZ = 50.0, 256.0
IN_TIME = {"train": (0.0, 0.54), "validation": (0.54, 2 / 3), "test": (2 / 3, 1.0)}
Named = Iterator[tuple[str, np.ndarray]]


def fan(folder: Path) -> Named:
    """One recording a configuration and speed: ``configuration/speed/run``."""
    rows = np.genfromtxt(folder / "UCI_accelerometer_fan" / "accelerometer.csv", delimiter=",", skip_header=1)
    for configuration, speed in np.unique(rows[:, :2], axis=0):
        chosen = (rows[:, 0] == configuration) & (rows[:, 1] == speed)
        yield f"weights {configuration:.0f}/speed {speed:.0f}/run.csv", rows[chosen, 2:]


def fan_in_time(folder: Path) -> Named:
    """Each run cut into three; the names tell the parts."""
    for name, rows in fan(folder):
        for part, (first, last) in IN_TIME.items():
            yield name.replace("run", part), rows[int(first * len(rows)) : int(last * len(rows))]


def joint(folder: Path) -> Named:
    """Every segment a recording."""
    for label in ("damaged", "undamaged"):
        rows = np.genfromtxt(folder / "QU_grandstand_joint" / f"{label}.csv", delimiter=",", skip_header=1)
        for number, segment in enumerate(rows.T):
            yield f"{label}/segment {number}.csv", segment[:, None]


SETS = {"fan": (fan, FAN_HZ), "fan_in_time": (fan_in_time, FAN_HZ), "joint": (joint, JOINT_HZ)}


def received(named: Named, rate_hz: float, home: Path) -> Dataset:
    """Return the recordings as a stored dataset, the way a plant would send them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, rows in named:
            text = io.StringIO()
            header = ",".join(f"axis_{number}" for number in range(rows.shape[1]))
            np.savetxt(text, rows, fmt="%.7g", delimiter=",", header=header, comments="")
            archive.writestr(name, text.getvalue())
    packed.seek(0)
    return DatasetStore(home).receive(packed, "public.zip", hints=UploadHints(rate_hz))


def prepared_in_time(dataset: Dataset, options: Mapping[str, Any]) -> PreparedRecordings:
    """Return the runs' parts by their names instead of the family's split."""
    made = prepare_recordings(dataset, options)
    parts: dict[str, ImageSplit] = {}
    for name in IN_TIME:
        entries = [entry for entry in made.recordings.entries if entry.recording.endswith(f"{name}.csv")]
        parts[name] = compute_images(made.recordings, entries, made.transform, made.classes, 10_000)
    certificate = SplitCertificate("recording", "recording", [(0, 0)])
    train, validation, test = (parts[name] for name in IN_TIME)
    return replace(made, train=train, validation=validation, test=test, certificate=certificate)


def measured(dataset: Dataset, set_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """One training, measured on its test part."""
    began = time.process_time()
    in_time = set_name == "fan_in_time"
    prepared: PreparedRecordings = (prepared_in_time if in_time else prepare_recordings)(dataset, options)
    assert in_time or not prepared.certificate.violations()
    model = train_damage_model(prepared, options)
    scores = DamageFamily().evaluate(model, prepared)
    return {
        **{name: value and round(value, 4) for name, value in scores.metrics.items()},
        "test_recordings": len(prepared.test.entries),
        "epochs": model.run.epoch,
        "processor_seconds": round(time.process_time() - began, 1),
    }


def fan_axis(folder: Path) -> Named:
    """Return the fan's first axis alone, as the joint has one channel only."""
    for name, rows in fan(folder):
        yield name, rows[:, :1]


def unlike(data: Path, seeds: list[int]) -> None:
    """Return recordings told to be none of the known classes: of the other set, and of the own test."""
    sources = {"fan": (fan_axis, FAN_HZ), "joint": (joint, JOINT_HZ)}
    lines = []
    for own, other in (("fan", "joint"), ("joint", "fan")):
        with tempfile.TemporaryDirectory() as home:
            dataset = received(sources[own][0](data), sources[own][1], Path(home))
            strange = [rows for _, rows in sources[other][0](data)]
            for seed in seeds:
                given = {"dataset": dataset.id, "seed": seed, "epochs": 1, "window_size": 128}
                prepared = prepare_recordings(dataset, DamageParser().parse_options(given))
                model = train_damage_model(prepared, DamageParser().parse_options(given))
                assert prepared.recordings is not None
                known = [prepared.recordings.samples(entry) for entry in prepared.test.entries]
                lines.append([own, seed, _unknown(model, known, sources[own][1]),
                              other, _unknown(model, strange, sources[other][1])])  # fmt: skip
    table("None of the known classes", ["trained on", "seed", "own test", "asked", "other set"], lines)


def _unknown(model: Any, recordings: list[np.ndarray], rate_hz: float) -> str:
    told = [
        model.postprocessor.predict(
            rows.astype(np.float32), rate_hz, lambda images: compute_logits(model.network, images)
        )
        for rows in recordings
    ]
    return f"{sum(not answer['known'] for answer in told)} of {len(told)}"


def main() -> None:
    """Measure what is not in the file yet, then print the means."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--sets", nargs="+", choices=sorted(SETS), default=["fan", "joint"])
    command.add_argument("--models", nargs="+", default=["cnn"])
    command.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    command.add_argument("--epochs", type=int, default=30)
    command.add_argument("--out", type=Path, default=Path("benchmarks/results/damage_public.jsonl"))
    command.add_argument("--unlike", action="store_true")
    asked = command.parse_args()
    torch.set_num_threads(1)
    if asked.unlike:
        unlike(asked.data, asked.seeds)
        return
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    for name in asked.sets:
        with tempfile.TemporaryDirectory() as home:
            dataset = received(SETS[name][0](asked.data), SETS[name][1], Path(home))
            for model_type in asked.models:
                for seed in asked.seeds:
                    about = {"set": name, "model": model_type, "seed": seed, "epochs_asked": asked.epochs}
                    if any(about.items() <= row.items() for row in rows):
                        continue
                    given = {"model_type": model_type, "seed": seed, "epochs": asked.epochs}
                    options = DamageParser().parse_options({"dataset": dataset.id, **given})
                    rows.append({**about, **measured(dataset, name, options)})
                    with asked.out.open("a") as out:
                        out.write(json.dumps(rows[-1]) + "\n")
                    print(rows[-1], flush=True)
    tell(rows)


def tell(rows: list[dict[str, Any]]) -> None:
    """Mean and range over the seeds."""
    names = ("accuracy", "macro_f1", "recording_accuracy", "calibration_error", "band_energies.accuracy",
             "band_energies.recording_accuracy")  # fmt: skip
    lines = []
    for key in sorted({(row["set"], row["model"], row["epochs_asked"]) for row in rows}):
        found = [row for row in rows if (row["set"], row["model"], row["epochs_asked"]) == key]
        values = [[row[name] for row in found] for name in names]
        told = [f"{np.mean(v):.3f} ({min(v):.3f} to {max(v):.3f})" for v in values]
        lines.append([*key, len(found), *told])
    table("Means (ranges) over seeds", ["set", "model", "epochs", "seeds", *names], lines)


if __name__ == "__main__":
    main()
