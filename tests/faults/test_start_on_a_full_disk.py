"""A server that starts where nothing can be written answers from its champions, and says so until there is space."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.plant import Plant, assert_trains, assert_truthful, batch, copies
from tests.faults.small_disk import fill, mounted
from tests.waiting import eventually

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(template: Path, tmp_path: Path) -> Iterator[Plant]:
    """Return a plant on a file system of its own, 60 MB in size."""
    with mounted(tmp_path, megabytes=60):
        yield from copies(template, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_start_on_a_full_disk(small_disk: Plant) -> None:
    # As after a reboot: SQLite has to make its index again, for which there is no space.
    (small_disk.home / "data" / "millwright.db-shm").unlink(missing_ok=True)
    filler = fill(small_disk.home)
    assert shutil.disk_usage(small_disk.home).free == 0
    small_disk.start()
    assert_only_reads(small_disk)
    filler.unlink()
    assert_recovers(small_disk)


@pytest.mark.skipif(
    os.geteuid() == 0 and not os.environ.get("TEST_EVERY_POINT"), reason="root has shown it on a full disk"
)
@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is not installed")
def test_a_start_where_no_file_may_grow(plant: Plant) -> None:
    """The same without a file system of its own: the kernel refuses every write to a file."""
    (plant.home / "data" / "millwright.db-shm").unlink(missing_ok=True)
    plant.start(command=("prlimit", "--fsize=0:unlimited"))
    assert_only_reads(plant)
    assert plant.server is not None
    for process in (psutil.Process(plant.server.pid), *plant.family()):
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert_recovers(plant)


def assert_only_reads(plant: Plant) -> None:
    """Assert that the champion answers, that health says why it is degraded, and that writes are refused whole."""
    before, health = plant.data(), plant.get("/health")
    assert health["status"] == "degraded"
    assert "The disk is full or refuses to write: nothing can be stored until that ends" in health["problems"]
    assert plant.answer()[0] == "2"
    for path, body in (
        ("/train", batch("full")),
        ("/train/backups", None),
        ("/api/sensors/", {"name": "Pressure", "type": "Pressure"}),
    ):
        answer = plant.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (507, "disk_full"), answer.text
    for path in ("/train/status", "/train/sessions", "/train/backups", "/models", "/train/statistics"):
        assert plant.get(path).get("success") is not False, path
    assert plant.data() == before


def assert_recovers(plant: Plant) -> None:
    """Assert that nothing has to be restarted once there is space."""
    eventually(lambda: plant.get("/health")["status"] == "ok", told=lambda: plant.get("/health"))
    assert_trains(plant, "after")
    assert_truthful(plant)
