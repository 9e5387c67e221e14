"""Labels and the schedule of Lookout for Equipment become options that a training takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.imports.lookout import read_schedule
from errors import DataFileInvalid
from prediction import registry
from tests.cli.runner import invoke

SCHEDULE = {
    "ModelName": "pump",
    "Status": "RUNNING",
    "RetrainingFrequency": "P1M15D",
    "LookbackWindow": "P180D",
    "PromoteMode": "MANUAL",
}


def run(*words: object):
    return invoke("import", "lookout", *words)


def write(folder: Path, **changes: object) -> Path:
    file = folder / "schedule.json"
    file.write_text(json.dumps({**SCHEDULE, **changes}))
    return file


def test_labels_and_schedule_become_options(tmp_path: Path):
    labels, out = tmp_path / "labels.csv", tmp_path / "options.json"
    labels.write_text("2020/1/1 0:05,1/2/2020 0:00\n2020-03-01T00:00:00,2020-03-02T12:00:00\n")
    answer = run(labels, "--schedule", write(tmp_path), "--out", out)
    assert answer.exit_code == 0 and "Wrote 2 labels and 3 options" in answer.output
    options = json.loads(out.read_text())
    assert (options["retrain_days"], options["lookback_days"], options["promote"]) == (45, 180, "manual")
    assert options["labels"][0]["start"] == "2020-01-01T00:05:00+00:00"
    assert registry.create_parser("equipment").parse_options(options)["labels"] == options["labels"]


def test_of_a_stopped_schedule_no_days_are_taken_over_and_the_message_says_so(tmp_path: Path):
    file, out = write(tmp_path, Status="STOPPED"), tmp_path / "options.json"
    assert read_schedule(file) == {"promote": "manual", "lookback_days": 180}
    output = " ".join(run("--schedule", file, "--out", out).output.split())
    assert "The scheduler is stopped, so retrain_days is left out" in output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RetrainingFrequency": "monthly"}, "a duration such as P1M"),
        ({"PromoteMode": "AUTO"}, "MANAGED or MANUAL"),
        ({"LookbackWindow": "P"}, "LookbackWindow"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_refused(tmp_path: Path, changes: dict[str, object], words: str):
    with pytest.raises(DataFileInvalid, match=words):
        read_schedule(write(tmp_path, **changes))


def test_the_line_of_a_wrong_label_is_named_whatever_stands_before_it(tmp_path: Path):
    labels = tmp_path / "labels.csv"
    labels.write_text("2020-03-01,2020-03-02\n\n2020-03-02,2020-03-01\n")
    assert "line 3: the label starts after its end" in run(labels).output
    labels.write_text("2020-03-01,2020-03-02\n\n2020-03-02\n")
    assert "line 3: a label is a start and an end" in run(labels).output


def test_wrong_files_are_refused(tmp_path: Path):
    labels = tmp_path / "labels.csv"
    labels.write_text("2020-03-02,2020-03-01\n")
    answer = run(labels)
    assert answer.exit_code and "line 1: the label starts after its end" in answer.output
    answer = run()
    assert answer.exit_code and "--schedule" in answer.output
