"""kill -9 at every named step: data and model are the old ones or the new ones, and the status says which."""

from __future__ import annotations

import pytest

from storage.fault_injection import STEPS
from tests.faults.plant import Plant, assert_trains, assert_truthful, assert_whole, batch

RESTORE = tuple(step for step in STEPS if step.startswith("restore."))
IN_A_CHILD = tuple(step for step in STEPS if step.startswith(("child.", "verify.")))
BACKUP = tuple(step for step in STEPS if step.startswith("backup."))
COMMIT = (
    "journal.staged",
    "journal.synced",
    "apply.moved",
    "apply.pointed",
    "apply.recorded",
    "journal.cleared",
)
TRAIN = tuple(step for step in STEPS if step not in RESTORE)
COMMITTED_FROM = STEPS.index("journal.synced")

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("step", TRAIN)
def test_train(plant: Plant, step: str) -> None:
    before, champion = plant.data(), plant.champion()
    plant.start(fault_point=f"{step}:kill")
    answer = plant.try_post("/train", batch("kill"))
    assert (answer is not None) == (step in IN_A_CHILD), "the fault did not strike where it should"
    if answer is not None:
        assert answer.status_code == 503
        assert answer.json()["code"] == "interrupted"
    plant.kill()

    plant.start()
    there = assert_whole(plant, before, "kill")
    assert there == (STEPS.index(step) >= COMMITTED_FROM), "the journal's entry is the commit point"
    last = assert_truthful(plant)
    assert last["state"] == ("interrupted" if not there else "completed" if last["promoted"] else "rejected")
    moved = there and last["promoted"]
    assert plant.champion() == (last["version"] if moved else champion)
    assert plant.answer()[0] == str(plant.champion())
    assert_trains(plant, "after")


@pytest.mark.parametrize("step", (*BACKUP, *RESTORE, *COMMIT))
def test_restore(plant: Plant, step: str) -> None:
    after_training, champion = plant.data(), plant.champion()
    name = plant.backup_of_session(2)
    plant.start(fault_point=f"{step}:kill")
    assert plant.try_post(f"/train/restore/{name}") is None, "the fault did not strike where it should"
    plant.kill()

    plant.start()
    assert_truthful(plant)
    old = plant.data() == after_training
    if old:
        assert plant.champion() == champion
    else:
        assert b"template-" not in plant.data()["anomaly_ids.csv"]
        assert plant.champion() == 1
    assert old == (step not in COMMIT[1:]), "the journal's entry is the commit point"
    assert plant.answer()[0] == str(plant.champion())
    assert_trains(plant, "after")


@pytest.mark.parametrize("step", BACKUP)
def test_backup(plant: Plant, step: str) -> None:
    before, champion = plant.data(), plant.champion()
    plant.start(fault_point=f"{step}:kill")
    assert plant.try_post("/train/backups", {}) is None, "the fault did not strike where it should"
    plant.kill()
    plant.start()
    assert_truthful(plant)
    assert (plant.data(), plant.champion()) == (before, champion)
    assert plant.post("/train/backups", {}).status_code == 201
