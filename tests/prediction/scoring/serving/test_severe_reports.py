"""Severe reports of a plant: which are listed, what they are called, and what a version answers to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import ArtefactCorrupt
from prediction.scoring.serving.severe_reports import SevereReports
from storage.anomaly_reports.csv_store import SCORES
from tests.prediction.scoring.plant import record, records, write_reports
from tests.prediction.scoring.test_scoring_family import Plant

READER = SevereReports()


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Return a plant with thirty reports; the newest two are severe in one score each."""
    made = Plant(tmp_path)
    made.store(records(28))
    write_reports(
        tmp_path / "data",
        [
            record(28, "P-10", "odeur de brûlé, fumée", availability_score=2.0, process_safety_score=5.0),
            record(29, "P-10", "vibration élevée", availability_score=5.0, process_safety_score=4.0),
        ],
        session=2,
    )
    return made


def test_the_newest_reports_with_the_highest_score_come_first(plant: Plant):
    newest, second, *_ = READER.list_cases(plant.source(), None)
    assert (newest.id, newest.scores) == ("A-29", {"availability": 5.0})
    assert (second.id, second.scores) == ("A-28", {"process_safety": 5.0})
    assert "fumée" in second.description and second.inputs["equipment_id"] == "P-10"


def test_chosen_reports_are_guarded_in_every_severe_score(plant: Plant):
    cases = READER.list_cases(plant.source(), ["A-29", "A-28", "nobody"])
    assert [(case.id, sorted(case.scores)) for case in cases] == [
        ("A-29", ["availability", "process_safety"]),
        ("A-28", ["process_safety"]),
    ]


def test_quarantined_reports_and_corrections_in_quarantine_change_no_case(plant: Plant):
    before = READER.list_cases(plant.source(), None)
    write_reports(
        plant.folder / "data",
        [
            record(29, "P-10", "vibration élevée", availability_score=1.0),
            record(40, "B-A", "odeur de brûlé, fumée"),
        ],
        session=3,
        quarantined=True,
    )
    assert READER.list_cases(plant.source(), None) == before


def test_reports_that_the_plant_stored_itself_are_called_by_their_content(plant: Plant):
    (plant.folder / "data" / "anomaly_ids.csv").unlink()
    newest = READER.list_cases(plant.source(), None)[0]
    assert newest.id.startswith("report-")
    assert [case.id for case in READER.list_cases(plant.source(), [newest.id])] == [newest.id]


def test_a_version_is_rated_as_it_answers(plant: Plant):
    _, _, champion = plant.train("v1")
    cases = READER.list_cases(plant.source(), None)
    rated = READER.rate(champion.folder, cases, plant.resources)
    answers = plant.predictor(champion).predict([case.inputs for case in cases], {"similar_reports": 0})
    for case, ratings, answer in zip(cases, rated, answers, strict=True):
        assert set(ratings) == set(case.scores) <= set(SCORES)
        for score, rating in ratings.items():
            assert rating.level == answer["scores"][score]["score"]
            assert rating.chance == pytest.approx(answer["scores"][score]["probabilities"]["5"], abs=1e-6)


@pytest.mark.parametrize("file", ["weights.npz", "history.npz", "scoring.json"])
def test_a_file_that_cannot_be_read_is_a_damaged_version(plant: Plant, file: str):
    champion = plant.train("v1")[2]
    (champion.folder / file).write_bytes(b"PK torn")
    with pytest.raises(ArtefactCorrupt, match="v1 cannot be read"):
        READER.rate(champion.folder, READER.list_cases(plant.source(), None), plant.resources)
