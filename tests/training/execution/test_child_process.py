"""Work is done in warm child processes: used once, replaced, killed on request, gone with their owner."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from errors import Interrupted, LeakySplit, NotEnoughData, TrainingCancelled, TrainingFailed
from prediction.contract import no_progress
from settings import PROJECT, Settings
from tests import toy_family
from tests.training.conftest import eventually
from training.execution import warm_process
from training.execution.child_process import ROLES, ChildProcessExecutor
from training.execution.warm_process import warm_process_lock


def task(home: Path, **options: Any) -> dict[str, Any]:
    """A training of the tiny family on fifty records."""
    rows = [f"{record['id']},{record['value']},0\n" for record in toy_family.records(50)]
    (home / "rows.csv").write_text(toy_family.HEADER + "".join(rows))
    (home / "staging").mkdir(exist_ok=True)
    return {
        "task": "train",
        "family": toy_family.ENTRY.family,
        "source": {"file": str(home / "rows.csv"), "pending": None},
        "options": {**toy_family.DEFAULTS, **options},
        "staging": str(home / "staging"),
        "probe": str(home / "probe.json"),
        "champion": None,
    }


def test_a_child_trains_announces_its_stages_and_answers(executor: ChildProcessExecutor, tmp_path: Path):
    stages = []
    with executor.start("trainer", task(tmp_path)) as job:
        result = job.result(lambda stage, **facts: stages.append(stage))
    assert [stage for stage in stages if stage != "epoch"] == ["prepare", "fit", "evaluate", "refit", "save"]
    assert result["scores"]["held_out"] == 10
    assert (tmp_path / "staging" / "model.json").exists()


def test_the_model_is_loaded_back_in_another_process(executor: ChildProcessExecutor, tmp_path: Path):
    with executor.start("trainer", task(tmp_path)) as trainer:
        trainer.result(no_progress)
    question = {
        "task": "verify",
        "predictor": toy_family.ENTRY.predictor,
        "folder": str(tmp_path / "staging"),
        "probe": str(tmp_path / "probe.json"),
    }
    with executor.start("verifier", question) as verifier:
        assert verifier.result(no_progress) == {"deviation": 0.0}
    assert verifier.pid != trainer.pid


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"leak": True}, LeakySplit), ({"fail": True}, TrainingFailed)],
    ids=["leak", "fail"],
)
def test_what_the_child_raises_is_raised_here(
    executor: ChildProcessExecutor, tmp_path: Path, options: dict[str, Any], kind: type[Exception]
):
    with pytest.raises(kind) as caught, executor.start("trainer", task(tmp_path, **options)) as job:
        job.result(no_progress)
    assert type(caught.value) is kind


def test_an_error_keeps_its_facts_on_the_way(executor: ChildProcessExecutor, tmp_path: Path):
    with pytest.raises(LeakySplit) as caught, executor.start("trainer", task(tmp_path, leak=True)) as job:
        job.result(no_progress)
    assert caught.value.facts["violations"] == ["row 39 is in both the train and the test part"]


def test_too_little_data_says_so(executor: ChildProcessExecutor, tmp_path: Path):
    order = task(tmp_path)
    (tmp_path / "rows.csv").write_text(toy_family.HEADER)
    with pytest.raises(NotEnoughData, match="5 records"), executor.start("trainer", order) as job:
        job.result(no_progress)


def test_a_child_that_dies_interrupts_the_job(executor: ChildProcessExecutor, tmp_path: Path):
    with pytest.raises(Interrupted), executor.start("trainer", task(tmp_path, crash=True)) as job:
        job.result(no_progress)


def test_a_killed_child_interrupts_the_job_at_once(executor: ChildProcessExecutor, tmp_path: Path):
    with pytest.raises(Interrupted), executor.start("trainer", task(tmp_path, sleep_s=60)) as job:
        threading.Timer(0.2, psutil.Process(job.pid).kill).start()
        began = time.monotonic()
        job.result(no_progress)
    assert time.monotonic() - began < 4


def test_a_check_that_raises_kills_the_child(executor: ChildProcessExecutor, tmp_path: Path):
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise TrainingCancelled("enough")

    with (
        pytest.raises(TrainingCancelled),
        executor.start("trainer", task(tmp_path, sleep_s=60), check) as job,
    ):
        threading.Timer(0.3, stop.set).start()
        job.result(no_progress)
    assert is_gone(job.pid)


def test_a_spare_waits_is_used_once_and_is_replaced_when_asked(
    executor: ChildProcessExecutor, tmp_path: Path
):
    executor.ensure_warm_processes()
    eventually(lambda: all(waits(executor, role) for role in ROLES))
    with executor.start("trainer", task(tmp_path)) as job:
        assert not waits(executor, "trainer")
        job.result(no_progress)
    eventually(lambda: is_gone(job.pid))
    assert not waits(executor, "trainer"), "nothing warms up while the answer is on its way"
    executor.ensure_warm_processes()
    eventually(lambda: waits(executor, "trainer"))


def test_no_spare_warms_up_beside_a_task_that_has_just_begun(executor: ChildProcessExecutor, tmp_path: Path):
    with executor.start("trainer", task(tmp_path)) as job:
        executor.ensure_warm_processes(quiet_s=60)
        job.result(no_progress)
    time.sleep(0.5)
    assert not waits(executor, "trainer")
    executor.ensure_warm_processes(quiet_s=0.1)
    eventually(lambda: waits(executor, "trainer"))


def test_there_is_one_spare_however_many_ask_for_one(executor: ChildProcessExecutor, settings: Settings):
    others = [ChildProcessExecutor(settings.run_dir, settings) for _ in range(4)]
    for one in (executor, *others):
        one.ensure_warm_processes()
    eventually(lambda: all(waits(executor, role) for role in ROLES))
    eventually(lambda: len(children(settings)) == len(ROLES))
    for other in others:
        other.close()


def test_two_sessions_at_once_get_two_children(executor: ChildProcessExecutor, tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        executor.start("trainer", task(tmp_path / "a", sleep_s=0.5)) as one,
        executor.start("trainer", task(tmp_path / "b", sleep_s=0.5)) as other,
    ):
        assert one.pid != other.pid
        one.result(no_progress)
        other.result(no_progress)


def test_a_spare_dies_with_its_spawner(settings: Settings, tmp_path: Path):
    spawner = start_spawner(settings)
    eventually(lambda: len(children(settings)) == len(ROLES))
    spawner.kill()
    spawner.wait()
    eventually(lambda: not children(settings), seconds=5)


def test_a_spare_in_use_outlives_its_spawner(
    executor: ChildProcessExecutor, settings: Settings, tmp_path: Path
):
    spawner = start_spawner(settings)
    eventually(lambda: len(children(settings)) == len(ROLES))
    eventually(lambda: all(waits(executor, role) for role in ROLES))
    with executor.start("trainer", task(tmp_path, sleep_s=1)) as job:
        spawner.kill()
        spawner.wait()
        assert job.result(no_progress)["rows"] == 50


def test_a_child_dies_with_the_owner_of_its_session(settings: Settings, tmp_path: Path):
    owner = start_spawner(settings, {**task(tmp_path), "fault_point": "child.started:sleep:60"})
    assert owner.stdout is not None
    pid = next(int(line) for line in owner.stdout if line.strip().isdigit())
    owner.kill()
    owner.wait()
    eventually(lambda: is_gone(pid), seconds=5)


def test_a_run_folder_may_lie_deeper_than_a_socket_address_is_long(settings: Settings, tmp_path: Path):
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    executor = ChildProcessExecutor(deep, settings)
    with executor.start("trainer", task(tmp_path)) as job:
        assert job.result(no_progress)["rows"] == 50
    executor.close()


def test_the_child_computes_with_one_thread_and_yields_to_predictions(
    executor: ChildProcessExecutor, tmp_path: Path
):
    with executor.start("trainer", task(tmp_path, sleep_s=0.5)) as job:
        assert psutil.Process(job.pid).nice() == 5
        job.result(no_progress)


def waits(executor: ChildProcessExecutor, role: str) -> bool:
    """Whether a spare of that role holds its lock."""
    return warm_process_lock(executor.run_dir, role).is_held()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie uses no processor any more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children(settings: Settings) -> list[int]:
    """The living children of the server in that home."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "training.execution.worker" in words and f'"{settings.run_dir}"' in words[-1]:
            found.append(process.pid)
    return found


def start_spawner(settings: Settings, order: dict[str, Any] | None = None) -> subprocess.Popen[bytes]:
    """Another process with spares of its own; with an order it runs that and tells its child's number."""
    program = f"""
        import sys, time
        from pathlib import Path
        from prediction import registry
        from settings import Settings
        from tests import toy_family
        from training.execution.child_process import ChildProcessExecutor
        registry.FAMILIES = {{"toy": toy_family.ENTRY}}
        settings = Settings(home=Path({str(settings.home)!r}))
        executor = ChildProcessExecutor(settings.run_dir, settings)
        order = {order!r}
        if order:
            with executor.start("trainer", order) as job:
                print(job.pid, flush=True)
                job.result(lambda stage, **facts: None)
        executor.ensure_spares()
        time.sleep(60)
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE)


def test_nothing_is_found_where_no_spare_listens(tmp_path: Path):
    assert warm_process.connect(tmp_path, "trainer") is None
