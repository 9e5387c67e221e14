"""What was predicted can be made again, and a backup is proven, whatever is killed, damaged or replaced."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil
import pytest
import sqlalchemy as sa

from errors import ArtefactCorrupt, BackupCorrupt
from storage.backups.backup import Backup, folder_signature
from storage.db.tables import kept_predictions
from storage.filesystem.checksummed_json import encode_checksummed, read_checksummed
from storage.filesystem.files import hash_file
from tests import toy_family
from tests.faults.plant import Plant, assert_truthful, kill
from tests.training import conftest as in_process
from tests.training.conftest import KEY, ended_session
from tests.waiting import eventually
from training_manager import TrainingManager

# A manager without processes, whose only family is the toy.
executor, manager, settings = in_process.executor, in_process.manager, in_process.settings
toy, trained = in_process.toy, in_process.trained


def ask(manager: TrainingManager, number: float) -> str:
    """Ask the champion and return the id under which its answer is kept."""
    model, inputs = manager.model_cache.current(KEY), [{"x": number}]
    receipt = manager.archive.keep(model, inputs, {}, model.predictor.predict(inputs, {}))
    assert receipt.id is not None
    return receipt.id


def test_a_thousand_old_answers_are_reproduced_after_ten_trainings_and_a_restore(
    trained: TrainingManager,
) -> None:
    ids = []
    for training in range(10):
        ids += [ask(trained, number / 7) for number in range(100)]
        batch = toy_family.records(5, 100 * (training + 1), value=3.0 + training / 70)
        assert ended_session(trained.train(KEY, batch)).promoted
        trained.model_cache.reload(KEY)
    middle = trained.storage.backups.list()[5].name
    trained.backups.restore(middle, "default")

    explained = [trained.kept_predictions.explain("default", prediction_id) for prediction_id in ids]
    assert {answer.reproduction.identical for answer in explained} == {True}
    assert sorted({answer.kept.version for answer in explained}) == list(range(1, 11))
    assert len({answer.answers[0]["value"] for answer in explained}) > 900, "answers of ten different models"


def test_a_damaged_kept_prediction_is_refused_in_one_sentence_and_proves_nothing(
    trained: TrainingManager,
) -> None:
    ids = [ask(trained, number) for number in range(3)]
    trained.archive.flush()
    for column, prediction_id in (("inputs", ids[0]), ("answers", ids[1])):
        stored = getattr(trained.archive.store.get("default", prediction_id), column)
        flipped = stored[:-3] + bytes([stored[-3] ^ 1]) + stored[-2:]
        row = kept_predictions.c.id == prediction_id
        with trained.storage.database.write() as connection:
            connection.execute(sa.update(kept_predictions).where(row).values({column: flipped}))
        with pytest.raises(ArtefactCorrupt, match=f"{prediction_id} is damaged in the database"):
            trained.kept_predictions.explain("default", prediction_id)
    backup = trained.backups.create(KEY, "default", "drill")
    assert trained.restore_drills.run(backup.name, "default").answers == 1


def break_file(backup: Backup) -> None:
    """Change a byte of the model in a backup."""
    file = next(backup.folder.rglob("model.json"))
    file.write_bytes(file.read_bytes().replace(b"mean", b"moan"))


def break_model(backup: Backup) -> None:
    """Replace the model in a backup by one that cannot be loaded, with hashes that hold."""
    file = next(backup.folder.rglob("model.json"))
    file.write_text("{}")
    for manifest, name in (
        (file.parent / "manifest.json", file.name),
        (backup.folder / "manifest.json", None),
    ):
        facts = read_checksummed(manifest)
        for changed in [file] if name else [file, file.parent / "manifest.json"]:
            size, sha256 = hash_file(changed)
            facts["files"][name or changed.relative_to(backup.folder).as_posix()] |= {
                "size": size,
                "sha256": sha256,
            }
        manifest.write_bytes(encode_checksummed(facts))


def break_data(backup: Backup) -> None:
    """Remove a file of a backup."""
    next((backup.folder / "data").iterdir()).unlink()


@pytest.mark.parametrize("damage", [break_file, break_model, break_data])
def test_a_broken_backup_fails_its_drill_and_health_says_so(
    trained: TrainingManager, damage: Callable[[Backup], None]
) -> None:
    backup = trained.backups.create(KEY, "default", "drill")
    damage(backup)
    with pytest.raises(BackupCorrupt, match=f"The restore drill of {backup.name} failed"):
        trained.restore_drills.run(backup.name, "default")
    assert backup.name in str(trained.restore_drills.issue("default"))
    assert trained.restore_drills.proofs()[backup.name].proven_at is None
    trained.backups.delete(backup.name, "default")
    assert trained.restore_drills.issue("default") is None


def reporters(plant: Plant) -> list[psutil.Process]:
    """Return the processes that open backups."""
    return [child for child in plant.children() if '"role": "reporter"' in " ".join(child.cmdline())]


@pytest.mark.faults
def test_a_kill_during_a_drill_leaves_nothing(plant: Plant) -> None:
    """No process, no half-written proof, no change in the backup; and the next drill succeeds."""
    plant.start(workers=1, fault_point="child.started:sleep:60")
    name = plant.backup_of_session(2)
    folder = plant.home / "model_backups" / name
    before = folder_signature(folder)
    assert plant.post(f"/train/backups/{name}/drill?async=1").status_code == 202
    eventually(lambda: bool(reporters(plant)))
    (child,) = reporters(plant)
    for worker in plant.workers():
        kill(worker.pid)
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    plant.kill()

    plant.start(workers=1)
    assert_truthful(plant)
    assert plant.get(f"/train/backups/{name}")["drilled_at"] is None
    assert folder_signature(folder) == before
    answer = plant.post(f"/train/backups/{name}/drill")
    assert answer.status_code == 200, answer.text
    assert answer.json()["models_loaded"] == 1
    assert folder_signature(folder) == before, "a drill writes nothing into a backup"
    proofs = json.loads((plant.home / "model_backups" / "proofs.json").read_text())
    assert list(proofs) == [name]
