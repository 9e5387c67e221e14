"""What every executor promises, whether its tasks run in child processes or in this one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from errors import LeakySplit, NotEnoughData, TrainingCancelled, TrainingFailed
from prediction import figures
from prediction.contract import Scores
from settings import Settings
from tests import toy_family
from tests.training.execution.conftest import train_task
from training.execution.child_process import ChildProcessExecutor
from training.execution.executor import Executor
from training.execution.in_process import InProcessExecutor
from training.execution.ipc import encode, rebuild
from training.execution.tasks import VerifyTask, make_local, make_portable, task_from_dict


@pytest.fixture(params=["child process", "in process"])
def executor(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Executor]:
    if request.param == "in process":
        yield InProcessExecutor(settings)
    else:
        child: ChildProcessExecutor = request.getfixturevalue("child_executor")
        yield child


def test_it_trains_announces_the_stages_and_answers(executor: Executor, tmp_path: Path):
    stages: list[str] = []
    task = train_task(tmp_path)
    with executor.open_worker("trainer") as worker:
        result = worker.run(task, lambda stage, **facts: stages.append(stage))
    assert [stage for stage in stages if stage != "epoch"] == ["prepare", "fit", "evaluate", "refit", "save"]
    assert result.scores.held_out == 10
    assert (tmp_path / "staging" / "model.json").exists()
    with executor.open_worker("verifier") as worker:
        assert worker.run(VerifyTask(toy_family.ENTRY.predictor, task.staging, task.probe)) == 0.0


def test_warnings_about_the_data_are_those_of_the_training(executor: Executor, tmp_path: Path):
    with executor.open_worker("trainer") as worker:
        result = worker.run(train_task(tmp_path, left_out="3 rows are older"))
    assert result.warnings == ["3 rows are older"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"leak": True}, LeakySplit), ({"fail": True}, TrainingFailed)],
    ids=["leak", "fail"],
)
def test_what_the_task_raises_is_raised_here_and_the_worker_goes_on(
    executor: Executor, tmp_path: Path, options: dict[str, Any], kind: type[Exception]
):
    with executor.open_worker("trainer") as worker:
        with pytest.raises(kind) as caught:
            worker.run(train_task(tmp_path, **options))
        assert worker.run(train_task(tmp_path, "second")).rows == 50
    assert type(caught.value) is kind


def test_scores_keep_their_figures_on_the_way() -> None:
    curve = figures.line("Loss", "epoch", "loss", {"training": ([1, 2], [0.5, 0.25])})
    bars = figures.bars("Share", "share", ["a"], {"model": [1.0]})
    scores = Scores(1.0, {"mae": 1.0}, {}, 10, True, figures=[curve, bars])
    assert rebuild(Scores, json.loads(encode(scores))) == replace(scores, losses=[])


def test_an_error_keeps_its_facts_on_the_way(executor: Executor, tmp_path: Path):
    with pytest.raises(LeakySplit) as caught, executor.open_worker("trainer") as worker:
        worker.run(train_task(tmp_path, leak=True))
    assert caught.value.facts["violations"] == ["row 39 is in both the train and the test part"]


def test_too_little_data_is_named(executor: Executor, tmp_path: Path):
    task = train_task(tmp_path)
    (tmp_path / "rows.csv").write_text(toy_family.HEADER)
    with pytest.raises(NotEnoughData, match="5 records"), executor.open_worker("trainer") as worker:
        worker.run(task)


def test_a_check_that_raises_ends_the_task(executor: Executor, tmp_path: Path):
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled), executor.open_worker("trainer", check) as worker:
        threading.Timer(0.3, stop.set).start()
        worker.run(train_task(tmp_path, sleep_s=20), lambda stage, **facts: None)


def test_a_task_travels_without_the_home_folder_and_without_passwords(tmp_path: Path):
    url = "postgresql+psycopg://plant:hidden@db/millwright"
    source = {"database": url, "run_dir": f"{tmp_path}/data/run", "files": [f"{tmp_path}/a.csv"], "rows": 3}
    portable = make_portable(source, tmp_path, url)
    assert "hidden" not in json.dumps(portable) and str(tmp_path) not in json.dumps(portable)
    assert make_local(portable, tmp_path, url) == source
    assert make_local(portable, Path("/mnt"), "sqlite:///x")["files"] == ["/mnt/a.csv"]


def test_a_task_is_the_same_after_its_way_through_json(tmp_path: Path):
    task = train_task(tmp_path)
    assert task_from_dict(json.loads(json.dumps(task.to_dict()))) == task
