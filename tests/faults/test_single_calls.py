"""Single changes to the disk made to fail: nothing is accepted that cannot be read back.

An ordinary run takes a sample of them; ``make faults`` takes all of them in turn.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from prediction import registry
from tests import toy_family
from tests.faults.plant import is_litter, litter
from tests.faults.single_calls import (
    FAULTS,
    OPERATIONS,
    Point,
    can_trace,
    count_calls,
    open_home,
    run_with_fault,
)
from tests.toy_family import records
from tests.training.conftest import KEY
from training_manager import TrainingManager

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace"),
]

EVERY_POINT = bool(os.environ.get("TEST_EVERY_POINT"))
SAMPLE = int(os.environ.get("FAULT_POINTS", "1"))
"""Sampled points of each operation in the ordinary run; `make faults` takes all of them, with each fault."""


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    """Register the toy family only."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(registry, "FAMILIES", {"toy": toy_family.ENTRY})
        yield


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with two versions, three backups and a dataset."""
    home = tmp_path_factory.mktemp("single") / "home"
    (home / "data" / "run").mkdir(parents=True)
    manager = open_home(home)
    manager.recover()
    for start in (0, 100):
        assert manager.train(KEY, records(30, start)).session is not None
    manager.backups.create(None, "default", "by hand")
    OPERATIONS["upload"](manager)
    close(manager)
    return home


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_failing_call_leaves_the_old_or_the_new_state(
    trained_home: Path, tmp_path: Path, operation: str
) -> None:
    old = describe(trained_home)
    points = count_calls(copy(trained_home, tmp_path / "counted"), operation)
    new = describe(tmp_path / "counted")
    assert points, "an operation that changes nothing cannot fail"
    for number, (point, fault) in enumerate(choose(points, operation)):
        home = copy(trained_home, tmp_path / f"home-{number}")
        is_acknowledged = run_with_fault(home, operation, point, fault)
        found = describe(home)
        assert found == new or (found == old and not is_acknowledged), (point, fault, found)
        manager = open_home(home)
        if found != new:
            OPERATIONS[operation](manager)
        assert manager.train(KEY, records(3, 900)).session is not None, (point, fault)
        close(manager)
        assert not [path for path in litter(home) if is_litter(path)], (point, fault)
        shutil.rmtree(home)


def choose(points: list[Point], operation: str) -> list[tuple[Point, str]]:
    """Return the points and faults to try: all, or a sample and a full disk at the last change of a name."""
    every = list(itertools.product(points, FAULTS))
    renames = [(point, "error=ENOSPC") for point in points if point.call.startswith("rename")]
    return every if EVERY_POINT else [*random.Random(operation).sample(every, SAMPLE), *renames[-1:]]


def copy(home: Path, target: Path) -> Path:
    """Copy a home, as it would be moved."""
    shutil.copytree(home, target)
    return target


def describe(home: Path) -> tuple[object, ...]:
    """Read back everything that a server over this home lists, and return what tells states apart.

    A backup that a failed operation made before it failed is one more backup, not another state: it is read, and not
    counted, but for those that there were.
    """
    manager = open_home(home)
    manager.recover()
    versions, backups = manager.storage.versions, manager.storage.backups.list()
    for number in versions.numbers(KEY.path):
        versions.verify(versions.get(KEY.path, number))
    for backup in backups:
        manager.storage.backups.verify(backup.name)
    tables = [manager.datasets.get(dataset.id).table() for dataset in manager.datasets.list()]
    champion = manager.model_cache.current(KEY)
    assert all(session.has_ended for session in manager.sessions.list("default"))
    state = (
        (home / "data" / "toy-default.csv").read_bytes(),
        champion.predictor.predict([{"x": 0}], {})[0]["value"],
        sorted(table.values.tobytes() for table in tables),
        sorted(
            backup.reason for backup in backups if "by hand" in backup.reason or "session 1" in backup.reason
        ),
    )
    close(manager)
    return state


def close(manager: TrainingManager) -> None:
    manager.close()
    manager.close_storage()
