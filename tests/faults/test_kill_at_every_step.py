"""kill -9 at every named step: data and model are the old ones or the new ones, and the status says which.

Who recovers from one kill is killed at the next step, so that each step costs one start of a server.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, zip_longest

import pytest

from storage.fault_injection import STEPS
from tests.faults.plant import Plant, assert_trains, assert_truthful, assert_whole, batch

IN_A_CHILD = tuple(step for step in STEPS if step.startswith(("child.", "verify.")))
COMMITTED = STEPS[STEPS.index("journal.synced") : STEPS.index("journal.cleared") + 1]
TRAIN = tuple(step for step in STEPS if not step.startswith("restore."))
RESTORE = (
    *(step for step in STEPS if step.startswith("restore.")),
    *(
        step
        for step in TRAIN
        if step.startswith(("backup.", "journal.", "apply.")) and step != "apply.appended"
    ),
)
"""In this order: the first fault must let a backup be made."""
BACKUP = tuple(step for step in STEPS if step.startswith("backup."))

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


def take_turns(steps: Iterable[str]) -> list[str]:
    """Return steps before and after the commit by turns: who recovers from the latter passes all of them."""
    before = [step for step in steps if step not in COMMITTED]
    after = [step for step in steps if step in COMMITTED]
    return [step for pair in zip_longest(before, after) for step in pair if step]


def start(plant: Plant, fatal_step: str | None) -> None:
    """Kill what is left of a server, and start one that dies at a step."""
    plant.kill()
    plant.start(fault_point=f"{fatal_step}:kill" if fatal_step else "")


def test_train(plant: Plant) -> None:
    steps = take_turns(TRAIN)
    start(plant, steps[0])
    for number, (step, following) in enumerate(pairwise([*steps, None])):
        label = f"kill{number:02d}x"
        before, champion = plant.data(), plant.champion()
        answer = plant.try_post("/train", batch(label))
        assert (answer is not None) == (step in IN_A_CHILD), (
            f"{step}: the fault did not strike where it should"
        )
        if answer is not None:
            assert (answer.status_code, answer.json()["code"]) == (503, "interrupted"), step

        start(plant, following)
        there = assert_whole(plant, before, label)
        assert there == (step in COMMITTED), f"{step}: the journal's entry is the commit point"
        last = assert_truthful(plant)
        ended = "interrupted" if not there else "completed" if last["promoted"] else "rejected"
        assert last["state"] == ended, step
        moved = there and last["promoted"]
        assert plant.champion() == (last["version"] if moved else champion), step
        assert plant.answer()[0] == str(plant.champion()), step
    assert_trains(plant, "after")


def test_restore(plant: Plant) -> None:
    """From the newer state to the older one, and back, each time that a kill comes after the commit."""
    steps = take_turns(RESTORE)
    start(plant, steps[0])
    backups = {"newer": plant.post("/train/backups", {}).json()["name"], "older": plant.backup_of_session(2)}
    states = {"newer": (plant.data(), plant.champion())}
    now, wanted = "newer", "older"
    for step, following in pairwise([*steps, None]):
        answer = plant.try_post(f"/train/restore/{backups[wanted]}")
        assert answer is None, f"{step}: the fault did not strike where it should"
        start(plant, following)
        assert_truthful(plant)
        if step in COMMITTED:
            now, wanted = wanted, now
        state = plant.data(), plant.champion()
        assert states.setdefault(now, state) == state, f"{step}: the journal's entry is the commit point"
        assert plant.answer()[0] == str(plant.champion()), step
    data, champion = states["older"]
    assert b"template-" not in data["anomaly_ids.csv"] and champion == 1
    assert_trains(plant, "after")


def test_backup(plant: Plant) -> None:
    start(plant, BACKUP[0])
    before, champion = plant.data(), plant.champion()
    for step, following in pairwise([*BACKUP, None]):
        answer = plant.try_post("/train/backups", {})
        assert answer is None, f"{step}: the fault did not strike where it should"
        start(plant, following)
        assert_truthful(plant)
        assert (plant.data(), plant.champion()) == (before, champion), step
    assert plant.post("/train/backups", {}).status_code == 201
