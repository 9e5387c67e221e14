"""A fresh machine is set up, or says in one sentence what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settings import PROJECT
from tests.waiting import MAX_WAIT_SECONDS


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder of programs with nothing in it but what every machine has."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "id", "ls"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return programs


def _run(script: str, *arguments: str, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "scripts" / script, *arguments],
        env={"PATH": str(path), **variables},
        capture_output=True,
        text=True,
        timeout=MAX_WAIT_SECONDS,
        check=False,
    )


def test_without_a_python_the_message_says_which_one(bare: Path, tmp_path: Path) -> None:
    ended = _run("create_venv.sh", str(tmp_path / "venv"), path=bare)
    assert ended.returncode == 1
    assert "Python 3.11 to 3.13 was not found" in ended.stderr
    assert not (tmp_path / "venv").exists()


def test_an_old_python_is_not_taken(bare: Path, tmp_path: Path) -> None:
    old = bare / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert "Python 3.11 to 3.13" in _run("create_venv.sh", str(tmp_path / "venv"), path=bare).stderr


def test_a_python_without_venv_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    lacking = bare / "python3"
    lacking.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *version_info\\[*) echo 3.11;; esac\n')
    lacking.chmod(0o755)
    ended = _run("create_venv.sh", str(tmp_path / "venv"), path=bare)
    assert ended.returncode == 1
    assert "apt-get install python3-venv" in ended.stderr


def test_a_program_that_is_missing_is_named_with_its_package(bare: Path) -> None:
    ended = _run("need.sh", "no-such-program", "no-such-package", path=bare)
    assert ended.returncode == 1
    assert "apt-get install no-such-package" in ended.stderr
    assert _run("need.sh", "ls", "coreutils", path=bare).returncode == 0


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    stamps = tmp_path / "venv"
    stamps.mkdir()
    for stamp in (".created", ".torch", ".installed"):
        (stamps / stamp).touch()
    planned = subprocess.run(
        ["make", "--dry-run", "run", f"VENV={stamps}"],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert planned.stdout.strip() == f"exec {stamps}/bin/millwright serve"


@pytest.mark.parametrize("script", ["test_training_pipeline.py", "scripts/incremental_training.py"])
def test_a_script_started_with_any_python_uses_that_of_the_project(script: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "scripts", project / "scripts")
    shutil.copy(PROJECT / "test_training_pipeline.py", project)
    # Without site-packages, as in a fresh virtual environment.
    command = [sys.executable, "-S", script, "--json"]
    ended = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=MAX_WAIT_SECONDS, check=False
    )
    assert ended.returncode == 1
    assert "run `make run` once" in ended.stderr and "Traceback" not in ended.stderr
    python = project / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "took over: $*"\n')
    python.chmod(0o755)
    ended = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=MAX_WAIT_SECONDS, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, f"took over: {script} --json\n")
