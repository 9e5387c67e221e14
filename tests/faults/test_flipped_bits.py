"""A backup in which one bit has flipped, wherever, is refused."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.backups.backup import find_damage
from tests.faults.plant import Plant

pytestmark = pytest.mark.faults

FLIPS = 10_000 if os.environ.get("TEST_EVERY_POINT") else 500
FLIPS_ON_A_SERVER = FLIPS if os.environ.get("TEST_EVERY_POINT") else 16


def newest_backup(home: Path) -> Path:
    """Return the folder of the newest backup, which has data files and a champion."""
    return max((home / "model_backups").glob("backup_*"))


@contextmanager
def flipped_bit(folder: Path, chosen: random.Random) -> Iterator[str]:
    """Flip one bit of one file, each byte being as likely as any other, and flip it back; yield where it is."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    (file,) = chosen.choices(files, weights=[file.stat().st_size for file in files])
    whole = file.read_bytes()
    at, bit = chosen.randrange(len(whole)), chosen.randrange(8)
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    try:
        yield f"bit {bit} of byte {at} of {file.relative_to(folder)}"
    finally:
        file.write_bytes(whole)


def test_every_flip_is_found(template: Path, tmp_path: Path) -> None:
    """By the function that verifies, restores and lists: it is the same for all of them."""
    folder = shutil.copytree(newest_backup(template), tmp_path / newest_backup(template).name)
    chosen = random.Random(7)
    for _ in range(FLIPS):
        with flipped_bit(folder, chosen) as place:
            assert find_damage(folder), place
    assert find_damage(folder) == []


def test_a_running_server_refuses_every_flip(plant: Plant) -> None:
    plant.start()
    before, champion, folder = plant.data(), plant.champion(), newest_backup(plant.home)
    chosen = random.Random(11)
    for number in range(FLIPS_ON_A_SERVER):
        with flipped_bit(folder, chosen) as place:
            path = (f"/train/restore/{folder.name}", f"/train/backups/{folder.name}/verify")[number % 2]
            answer = plant.post(path)
            assert (answer.status_code, answer.json()["code"]) == (422, "backup_corrupt"), (
                place,
                answer.text,
            )
    assert (plant.data(), plant.champion()) == (before, champion)
    assert plant.post(f"/train/backups/{folder.name}/verify").status_code == 200
    assert plant.post(f"/train/restore/{folder.name}").status_code == 200
