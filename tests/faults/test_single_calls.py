"""Single changes to the disk made to fail: nothing is accepted that cannot be read back.

An ordinary run takes a sample of them; ``make faults`` takes all of them in turn.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from prediction import registry
from prediction.contract import ModelKey
from storage.datasets.facts import RECORDINGS
from storage.datasets.store import Dataset
from tests.faults.plant import is_litter, litter
from tests.faults.single_calls import (
    FAMILY_OPERATIONS,
    LOST_WRITE,
    OPERATIONS,
    TOY_OPERATIONS,
    Point,
    can_trace,
    count_calls,
    make_example,
    open_home,
    read_example,
    register_families,
    run_with_fault,
)
from tests.toy_family import records
from tests.training.conftest import KEY
from training_manager import TrainingManager

log = structlog.get_logger()

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace"),
]

EVERY_POINT = bool(os.environ.get("TEST_EVERY_POINT"))
SAMPLE = int(os.environ.get("FAULT_POINTS", "1"))
"""Sampled points of each operation in the ordinary run; `make faults` takes all of them, with each fault."""
IN_AN_ORDINARY_RUN = {"train_scoring", "train_sensors"}
"""The families that train in a second; `make faults` takes all of them."""


@pytest.fixture(scope="module", autouse=True)
def families() -> Iterator[None]:
    """Restore the families that a test has registered."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(registry, "FAMILIES", registry.FAMILIES)
        yield


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with two versions, three backups, a dataset and a sensor."""
    home = tmp_path_factory.mktemp("single") / "home"
    register_families("train")
    manager = prepare(home)
    for start in (0, 100):
        assert manager.train(KEY, records(30, start)).session is not None
    manager.backups.create(None, "default", "by hand")
    OPERATIONS["upload"](manager)
    manager.sensors.sensors.create("default", [{"name": "Inlet", "type": "Flow"}])
    close(manager)
    return home


def prepare(home: Path) -> TrainingManager:
    """Return the training side over a new home."""
    (home / "data" / "run").mkdir(parents=True)
    manager = open_home(home)
    manager.recover()
    return manager


@pytest.mark.parametrize("operation", TOY_OPERATIONS)
def test_one_failing_call_leaves_the_old_or_the_new_state(
    trained_home: Path, tmp_path: Path, operation: str
) -> None:
    register_families(operation)

    def train_more(home: Path) -> None:
        manager = open_home(home)
        assert manager.train(KEY, records(3, 900)).session is not None
        close(manager)

    assert_each_fault_is_survived(trained_home, tmp_path, operation, train_more)


@pytest.mark.parametrize("operation", FAMILY_OPERATIONS)
def test_one_failing_call_of_a_familys_training_leaves_the_old_or_the_new_state(
    tmp_path: Path, operation: str
) -> None:
    if not EVERY_POINT and operation not in IN_AN_ORDINARY_RUN:
        pytest.skip("trains for seconds: make faults")
    register_families(operation)
    manager = prepare(tmp_path / "home")
    make_example(manager, operation.removeprefix("train_"))
    close(manager)
    assert_each_fault_is_survived(tmp_path / "home", tmp_path, operation)


def assert_each_fault_is_survived(
    original: Path, folder: Path, operation: str, then: Callable[[Path], None] = lambda home: None
) -> None:
    """Assert that whatever call fails leaves a state that can be read, and in which the operation can be repeated.

    Parameters
    ----------
    original : Path
        The home before the operation.
    folder : Path
        For copies of it.
    then : callable
        What must work afterwards as well.
    """
    old = describe(original)
    points = count_calls(copy(original, folder / "counted"), operation)
    new = describe(folder / "counted")
    assert points, "an operation that changes nothing cannot fail"
    chosen, acknowledged = choose(points, operation), 0
    for number, (point, fault) in enumerate(chosen):
        home = copy(original, folder / f"home-{number}")
        is_acknowledged = run_with_fault(home, operation, point, fault)
        acknowledged += is_acknowledged
        found = describe(home)
        assert found == new or (found == old and not is_acknowledged), (point, fault, found)
        if found != new:
            manager = open_home(home)
            OPERATIONS[operation](manager)
            close(manager)
            describe(home)
        then(home)
        assert not [path for path in litter(home) if is_litter(path)], (point, fault)
        shutil.rmtree(home)
    log.info("swept", operation=operation, points=len(points), faults=len(chosen), acknowledged=acknowledged)


def choose(points: list[Point], operation: str) -> list[tuple[Point, str]]:
    """Return the points and faults to try.

    All of them; of families a full disk and a lost write, as the sweep over the toy has the rest, or a sample and a
    full disk at the last change of a name.
    """
    every = [(point, fault) for point in points for fault in point.faults()]
    if operation in FAMILY_OPERATIONS:
        every = [(point, fault) for point, fault in every if fault in ("error=ENOSPC", LOST_WRITE)]
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
    key, example = read_example(home)
    versions, backups = manager.storage.versions, manager.storage.backups.list()
    for number in versions.numbers(key.path):
        versions.verify(versions.get(key.path, number))
    for backup in backups:
        manager.storage.backups.verify(backup.name)
    datasets = [manager.datasets.get(dataset.id) for dataset in manager.datasets.list()]
    champion = manager.model_cache.current(key)
    inputs = registry.create_parser(key.family).parse_inputs(example.inputs)
    answers = champion.predictor.predict(list(inputs.records), {})
    assert all(session.has_ended for session in manager.sessions.list("default"))
    state = (
        {file.name: read_data_file(file, key) for file in (home / "data").glob("*.csv")},
        answers[0]["value"] if key == KEY else champion.number,
        sorted(map(hash_samples, datasets)),
        sorted(manager.sensors.readings.series(1).values.tolist()),
        sorted(manager.devices.telemetry.devices("default")),
        sorted(
            backup.reason for backup in backups if "by hand" in backup.reason or "session 1" in backup.reason
        ),
    )
    close(manager)
    return state


def read_data_file(file: Path, key: ModelKey) -> object:
    """Return what tells two states of a file apart: reports have the time of their arrival, which runs do not share."""
    return file.read_bytes() if key == KEY else len(file.read_bytes().splitlines())


def hash_samples(dataset: Dataset) -> str:
    """Return a hash of all numbers of a dataset, read from the disk."""
    values = dataset.recordings().values if dataset.kind == RECORDINGS else dataset.table().values
    return hashlib.sha256(values.tobytes()).hexdigest()


def close(manager: TrainingManager) -> None:
    manager.close()
    manager.close_storage()
