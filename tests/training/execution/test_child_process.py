"""Tasks are done in warm child processes: used once, replaced, killed on request, gone with their owner."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from errors import Interrupted, TrainingCancelled
from settings import PROJECT, Settings
from tests.training.execution.conftest import train_task
from tests.waiting import eventually
from training.execution import warm_process
from training.execution.child_process import WARM_ROLES, ChildProcessExecutor
from training.execution.tasks import TrainTask, VerifyTask
from training.execution.warm_process import warm_process_lock


@pytest.fixture
def executor(child_executor: ChildProcessExecutor) -> ChildProcessExecutor:
    return child_executor


def test_the_model_is_loaded_back_in_another_process(executor: ChildProcessExecutor, tmp_path: Path):
    task = train_task(tmp_path)
    with executor.open_worker("trainer") as trainer:
        trainer.run(task)
    question = VerifyTask("tests.toy_family:ToyPredictor", task.staging, task.probe)
    with executor.open_worker("verifier") as verifier:
        assert verifier.run(question) == 0.0
    assert verifier.pid != trainer.pid


def test_one_child_does_tasks_one_after_the_other(executor: ChildProcessExecutor, tmp_path: Path):
    with executor.open_worker("trainer") as worker:
        rows = [worker.run(train_task(tmp_path, name)).rows for name in ("a", "b")]
    assert rows == [50, 50]


def test_a_child_that_dies_interrupts_the_task(executor: ChildProcessExecutor, tmp_path: Path):
    with pytest.raises(Interrupted), executor.open_worker("trainer") as worker:
        worker.run(train_task(tmp_path, crash=True))


def test_a_killed_child_interrupts_the_task_at_once(executor: ChildProcessExecutor, tmp_path: Path):
    with pytest.raises(Interrupted), executor.open_worker("trainer") as worker:
        threading.Timer(0.2, psutil.Process(worker.pid).kill).start()
        worker.run(train_task(tmp_path, sleep_s=3600))


def test_a_check_that_raises_kills_the_child(executor: ChildProcessExecutor, tmp_path: Path):
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled), executor.open_worker("trainer", check) as worker:
        threading.Timer(0.3, stop.set).start()
        worker.run(train_task(tmp_path, sleep_s=3600))
    assert is_gone(worker.pid)


def test_a_warm_process_waits_is_used_once_and_is_replaced_when_asked(
    executor: ChildProcessExecutor, settings: Settings, tmp_path: Path
):
    executor.ensure_warm_processes()
    eventually(lambda: all(is_warm(settings, role) for role in WARM_ROLES))
    with executor.open_worker("trainer") as worker:
        assert not is_warm(settings, "trainer")
        worker.run(train_task(tmp_path))
    eventually(lambda: is_gone(worker.pid))
    assert not is_warm(settings, "trainer"), "nothing warms up while the response is on its way"
    executor.ensure_warm_processes()
    eventually(lambda: is_warm(settings, "trainer"))


def test_no_process_warms_up_beside_a_task_that_has_just_begun(
    executor: ChildProcessExecutor, settings: Settings, tmp_path: Path
):
    with executor.open_worker("trainer") as worker:
        executor.ensure_warm_processes(min_idle_seconds=600)
        worker.run(train_task(tmp_path))
    time.sleep(0.5)
    assert not is_warm(settings, "trainer")
    executor.ensure_warm_processes(min_idle_seconds=0.1)
    eventually(lambda: is_warm(settings, "trainer"))


def test_there_is_one_warm_process_however_many_ask_for_one(
    executor: ChildProcessExecutor, settings: Settings
):
    others = [ChildProcessExecutor(settings) for _ in range(4)]
    for asking in (executor, *others):
        asking.ensure_warm_processes()
    eventually(lambda: all(is_warm(settings, role) for role in WARM_ROLES))
    eventually(lambda: len(children(settings)) == len(WARM_ROLES))
    for other in others:
        other.close()


def test_two_sessions_at_once_get_two_children(executor: ChildProcessExecutor, tmp_path: Path):
    with executor.open_worker("trainer") as first, executor.open_worker("trainer") as second:
        assert first.pid != second.pid


def test_a_warm_process_dies_with_its_parent(settings: Settings):
    parent = start_parent(settings)
    eventually(lambda: len(children(settings)) == len(WARM_ROLES))
    parent.kill()
    parent.wait()
    eventually(lambda: not children(settings))


def test_a_process_in_use_outlives_its_parent(
    executor: ChildProcessExecutor, settings: Settings, tmp_path: Path
):
    parent = start_parent(settings)
    eventually(lambda: len(children(settings)) == len(WARM_ROLES))
    eventually(lambda: all(is_warm(settings, role) for role in WARM_ROLES))
    with executor.open_worker("trainer") as worker:
        parent.kill()
        parent.wait()
        assert worker.run(train_task(tmp_path, sleep_s=1)).rows == 50


def test_a_child_dies_with_the_owner_of_its_session(settings: Settings, tmp_path: Path):
    owner = start_parent(replace(settings, fault_point="child.started:sleep:60"), train_task(tmp_path))
    assert owner.stdout is not None
    pid = next(int(line) for line in owner.stdout if line.strip().isdigit())
    owner.kill()
    owner.wait()
    eventually(lambda: is_gone(pid))


def test_a_run_folder_may_lie_deeper_than_a_socket_address_is_long(tmp_path: Path):
    deep = Settings(home=tmp_path / ("d" * 120) / ("e" * 120))
    deep.run_dir.mkdir(parents=True)
    executor = ChildProcessExecutor(deep)
    with executor.open_worker("trainer") as worker:
        assert worker.run(train_task(deep.home)).rows == 50
    executor.close()


def test_the_child_computes_with_one_thread_and_yields_to_predictions(executor: ChildProcessExecutor):
    with executor.open_worker("trainer") as worker:
        assert psutil.Process(worker.pid).nice() >= 5


def test_no_command_line_shows_a_password(settings: Settings, tmp_path: Path):
    secret = replace(settings, language_model_key="hidden", database_url="sqlite:////tmp/hidden.db")
    executor = ChildProcessExecutor(secret)
    with executor.open_worker("trainer") as worker:
        assert "hidden" not in " ".join(psutil.Process(worker.pid).cmdline())
    executor.close()


def test_nothing_is_connected_to_where_no_warm_process_listens(tmp_path: Path):
    assert warm_process.connect(tmp_path, "trainer") is None


def is_warm(settings: Settings, role: str) -> bool:
    """Return whether a warm process of that role waits."""
    return warm_process_lock(settings.run_dir, role).is_held()


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie uses no processor any more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children(settings: Settings) -> list[int]:
    """Return the living children of the server in that home."""
    pids = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "training.execution.worker" in words and f'"{settings.run_dir}"' in words[-1]:
            pids.append(process.pid)
    return pids


def start_parent(settings: Settings, task: TrainTask | None = None) -> subprocess.Popen[bytes]:
    """Start another process with warm processes; with a task it runs that and prints its child's number."""
    sent = None if task is None else task.to_dict()
    program = f"""
        import json, time
        from pathlib import Path
        from prediction import registry
        from settings import Settings
        from tests import toy_family
        from training.execution.child_process import ChildProcessExecutor
        from training.execution.tasks import task_from_dict
        registry.FAMILIES = {{"toy": toy_family.ENTRY}}
        executor = ChildProcessExecutor(
            Settings(home=Path({str(settings.home)!r}), fault_point={settings.fault_point!r})
        )
        task = json.loads({json.dumps(sent)!r})
        if task:
            with executor.open_worker("trainer") as worker:
                print(worker.pid, flush=True)
                worker.run(task_from_dict(task))
        executor.ensure_warm_processes()
        time.sleep(60)
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE)
