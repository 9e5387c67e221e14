"""The disk is full, read-only or damaged: clear errors, nothing lost, and it goes on as soon as it can."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.plant import (
    DATA_FILES,
    PROBE,
    Plant,
    assert_trains,
    assert_truthful,
    assert_whole,
    batch,
    copies,
    kill,
    stored,
)
from tests.faults.small_disk import mounted
from tests.waiting import eventually

pytestmark = pytest.mark.faults

OBEY_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Even root heeds the modes of files and folders without these capabilities."""

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


@pytest.fixture
def small_disk(template: Path, tmp_path: Path) -> Iterator[Plant]:
    """Return a plant on a file system of its own, 24 MB in size."""
    with mounted(tmp_path, megabytes=24):
        yield from copies(template, tmp_path)


@needs_mount
def test_disk_full(small_disk: Plant) -> None:
    small_disk.start()
    before, version = small_disk.data(), small_disk.answer()
    filler = small_disk.home / "filler"
    free = shutil.disk_usage(small_disk.home).free
    filler.write_bytes(b"\0" * (free - 64 * 1024))
    answer = small_disk.post("/train", batch("full"))
    assert answer.status_code == 507, answer.text
    assert answer.json()["code"] == "disk_full"
    assert small_disk.data() == before
    assert small_disk.answer() == version
    filler.unlink()
    assert_truthful(small_disk)
    assert_trains(small_disk, "after")


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_permission_denied(plant: Plant) -> None:
    plant.start(command=OBEY_MODES)
    before, version = plant.data(), plant.answer()
    folder = plant.home / "model_backups"
    folder.chmod(0o500)
    answer = plant.post("/train", batch("denied"))
    assert answer.status_code == 500, answer.text
    assert answer.json()["code"] == "storage_failed"
    assert plant.answer() == version
    folder.chmod(0o700)
    assert plant.data() == before
    assert_trains(plant, "after")


@pytest.mark.parametrize(("more", "warm"), [(10, True), (40_000, False)])
def test_a_file_that_may_not_grow(plant: Plant, more: int, warm: bool) -> None:
    """At once, or in the midst of a session whose child cannot start and whose end cannot be recorded."""
    plant.start()
    before, version = plant.data(), plant.answer()
    limit = len(before["disponibilite.csv"]) + more
    for worker in plant.workers():
        worker.rlimit(psutil.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for spare in [] if warm else plant.children():
        kill(spare.pid)
    answer = plant.post("/train", batch("limit"))
    assert answer.status_code in (500, 503, 507), answer.text
    assert plant.answer() == version
    # A child that was started meanwhile has inherited the limit; the one of a full disk would go with the disk's.
    for process in (*plant.workers(), *plant.children()):
        with suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert_truthful(plant)
    assert assert_whole(plant, before, "limit") == answer.json().get("committed", False)
    assert_trains(plant, "after")


def halved(plant: Plant) -> tuple[Path, bytes]:
    """Cut the champion's largest file in half; the file, and what it held."""
    folder = plant.home / "models" / "default" / "scoring" / "default" / f"v{plant.champion():04d}"
    damaged = max(
        (file for file in folder.iterdir() if file.name != "manifest.json"), key=lambda f: f.stat().st_size
    )
    whole = damaged.read_bytes()
    damaged.unlink()  # a new file: backups share the old one's bytes
    damaged.write_bytes(whole[: len(whole) // 2])
    return damaged, whole


def test_a_truncated_model_never_replaces_the_one_that_serves(plant: Plant) -> None:
    plant.start()
    plant.wait_for_champions()
    served = plant.answer()
    damaged, whole = halved(plant)
    answer = plant.post("/train/reload")
    assert answer.status_code >= 500
    said = {name: answer.json()[name] for name in ("success", "message", "models_loaded")}
    assert said == {"success": False, "message": "Failed to reload models", "models_loaded": False}
    assert plant.answer() == served
    damaged.write_bytes(whole)
    assert plant.post("/train/reload").json()["models_loaded"] is True


def test_after_a_start_the_version_before_a_truncated_one_answers_and_says_so(plant: Plant) -> None:
    damaged, whole = halved(plant)
    plant.start()
    answer = plant.post("/predict?similar_reports=0", PROBE)
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "1"), answer.text
    assert "Version 1 answers instead" in answer.json()["warnings"][0]
    eventually(lambda: plant.get("/health")["status"] == "degraded")
    damaged.write_bytes(whole)
    assert plant.post("/train/reload").status_code == 200
    assert plant.answer()[0] == "2"
    eventually(lambda: plant.get("/health")["status"] == "ok")


def test_a_line_half_written_by_hand_is_named(plant: Plant) -> None:
    file = plant.home / "data" / DATA_FILES[0]
    with file.open("a") as opened:
        opened.write("half,a,line")
    before = plant.data()
    plant.start()
    answer = plant.post("/train", batch("byhand"))
    assert answer.status_code == 422
    assert answer.json()["code"] == "data_file_invalid"
    assert file.name in answer.json()["error"]
    assert plant.data() == before
    assert stored(plant.data(), "byhand") == dict.fromkeys(DATA_FILES, 0)
