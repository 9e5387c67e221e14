"""Tasks of the tiny family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import toy_family
from training.execution.tasks import TrainTask


def train_task(home: Path, name: str = "staging", **options: Any) -> TrainTask:
    """Return a training of the tiny family on fifty records."""
    rows = [f"{record['id']},{record['value']},0\n" for record in toy_family.records(50)]
    (home / "rows.csv").write_text(toy_family.HEADER + "".join(rows))
    (home / name).mkdir(exist_ok=True)
    return TrainTask(
        family=toy_family.ENTRY.family,
        source={"file": "{home}/rows.csv", "pending": None},
        options={**toy_family.DEFAULTS, **options},
        staging=name,
        probe=f"{name}-probe.json",
    )
