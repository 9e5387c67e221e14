"""New records with doubtful scores and raters with habits are warnings that name the records concerned."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prediction.contract import Champion, no_progress
from prediction.scoring.family import ScoringFamily
from tests.prediction.scoring.plant import record, records, write_reports
from tests.prediction.scoring.test_scoring_family import OPTIONS, Plant

FAMILY = ScoringFamily()
Report = dict[str, Any]
SCORE_FIELDS = ("availability_score", "fiability_score", "process_safety_score")


class TrainedPlant(Plant):
    """A plant with 400 stored reports of three raters, and the champion that has learnt them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store(rate(records(400), "a", "b", "c"))
        self.champion = self.train("v1")[2]

    def review(self, pending: list[Report]) -> list[str]:
        """Return the warnings about pending records."""
        return review(self, pending, self.champion)


def review(plant: Plant, pending: list[Report], champion: Champion | None) -> list[str]:
    prepared = FAMILY.prepare(plant.source(pending), OPTIONS, plant.resources)
    model = FAMILY.fit(prepared, OPTIONS, no_progress)
    return FAMILY.reviewer.review_new_records(model, champion, prepared, OPTIONS)


def rate(reports: list[Report], *raters: str, kind: str = "rater") -> list[Report]:
    return [report | {kind: raters[number % len(raters)]} for number, report in enumerate(reports)]


def change(reports: list[Report], score: Callable[[float], float]) -> list[Report]:
    return [report | {field: score(report[field]) for field in SCORE_FIELDS} for report in reports]


def named(warnings: list[str]) -> set[str]:
    return set(re.findall(r"Record (A-\d+)", " ".join(warnings)))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> TrainedPlant:
    return TrainedPlant(tmp_path_factory.mktemp("plant"))


def test_a_near_duplicate_with_another_score_is_named_with_what_it_contradicts(plant: TrainedPlant) -> None:
    twin = record(900, "V-07", "odeur de brûlé, fumée", process_safety_score=1.0)
    (warning,) = plant.review([twin])
    assert re.fullmatch(r"Record A-900: process safety 1 .* with 5 \(A-\d+, A-\d+, A-\d+\)", warning)


def test_genuine_records_are_no_warnings(plant: TrainedPlant) -> None:
    assert plant.review(rate(records(60, seed=5, first=1_000), "a", "new")) == []


def test_most_of_the_scores_that_are_named_are_wrong_and_most_wrong_ones_are_named(
    plant: TrainedPlant,
) -> None:
    chance, reports, wrong = random.Random(3), records(200, seed=6, first=1_000), set()
    for report in chance.sample(reports, 10):
        field = chance.choice(SCORE_FIELDS)
        report[field] = chance.choice(
            [level for level in (1.0, 2.0, 3.0, 4.0, 5.0) if level != report[field]]
        )
        wrong.add(report["anomaly_id"])
    found = named(plant.review(reports))
    assert len(found & wrong) >= 0.8 * len(found)
    assert len(found & wrong) >= 5


def test_of_two_new_twins_the_one_that_fits_less_is_named(plant: TrainedPlant) -> None:
    right = record(900, "V-07", "odeur de brûlé, fumée")
    wrong = record(901, "V-07", "odeur de brûlé, fumée", process_safety_score=1.0)
    assert named(plant.review([right, wrong])) == named(plant.review([wrong, right])) == {"A-901"}


@pytest.mark.parametrize(
    ("score", "habit"),
    [
        (lambda level: min(5.0, level + 1), "one level higher"),
        (lambda level: 3.0, "as 3, whatever the report says"),
        (lambda level: 5.0 if level >= 3 else 1.0, "the ends of the scale only"),
        (lambda level: min(max(level, 2.0), 4.0), "without the ends of the scale"),
    ],
)
@pytest.mark.parametrize("kind", ["rater", "source"])
def test_a_rater_with_a_habit_is_named_with_the_records(
    plant: TrainedPlant, score: Callable[[float], float], habit: str, kind: str
) -> None:
    reports = change(records(20, seed=7, first=1_000), score)
    warnings = plant.review(
        rate(reports, "m.dupont", kind=kind) + rate(records(20, seed=8, first=1_100), "a")
    )
    (warning,) = [text for text in warnings if text.startswith(kind.capitalize())]
    assert "'m.dupont'" in warning and habit in warning
    assert "A-1019" in warning and "A-1100" not in warning


def test_small_batches_of_one_rater_add_up_over_the_quarantine(plant: TrainedPlant, tmp_path: Path) -> None:
    drift = change(records(12, seed=7, first=1_000), lambda level: min(5.0, level + 1))
    held, last = rate(drift[:9], "m.dupont"), rate(drift[10:], "M.DUPONT", " m.dupont ")
    assert "m.dupont" not in " ".join(plant.review(last))
    shutil.copytree(plant.folder, tmp_path / "copy")
    copy = Plant(tmp_path / "copy")
    write_reports(copy.folder / "data", held, session=2, quarantined=True)
    (warning,) = [text for text in review(copy, last, plant.champion) if text.startswith("Rater")]
    assert "'m.dupont'" in warning and "A-1002" in warning and "A-1011" in warning


def test_a_first_training_reviews_its_records(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    wrong = record(900, "V-07", "odeur de brûlé, fumée", process_safety_score=1.0)
    assert named(review(plant, [*records(250), wrong], None)) == {"A-900"}


def test_default_scores_are_named_because_they_are_not_learnt(plant: TrainedPlant) -> None:
    same = dict.fromkeys(SCORE_FIELDS, 4.0)
    warnings = plant.review([report | same for report in records(30, seed=9, first=1_000)])
    (warning,) = [text for text in warnings if "same three scores" in text]
    assert "A-1029" in warning


def test_raters_are_compared_on_similar_reports_of_others(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.store(rate(records(100), "a", "b"))
    higher = change(records(30, seed=7, first=1_000), lambda level: min(5.0, level + 1))
    write_reports(tmp_path / "data", rate(higher, "m.dupont"), session=2)
    write_reports(tmp_path / "data", rate(records(10, seed=8, first=2_000), "a"), session=3, quarantined=True)
    prepared = FAMILY.prepare(plant.source(), OPTIONS, plant.resources)
    raters = {rater.name: rater for rater in FAMILY.reviewer.measure_agreement(prepared)}
    assert [(name, rater.records, rater.quarantined) for name, rater in raters.items()] == [
        ("a", 60, 10),
        ("b", 50, 0),
        ("m.dupont", 30, 0),
    ]
    assert raters["m.dupont"].scores["process_safety"].mean_difference == pytest.approx(1.0, abs=0.35)
    assert raters["a"].scores["fiability"].same > raters["m.dupont"].scores["fiability"].same + 0.5


def test_where_no_new_record_can_be_judged_nothing_fails(tmp_path: Path) -> None:
    """All have the default scores, or all are older than what was held out."""
    plant = Plant(tmp_path)
    same = dict.fromkeys(SCORE_FIELDS, 4.0)
    plant.store([*records(200), *(report | same for report in records(100, seed=9, first=500))])
    champion = plant.train("v1")[2]
    batch = [report | same for report in records(3, seed=11, first=1_000)]
    assert "same three scores" in " ".join(review(plant, batch, champion))
    earlier = record(2_000, "V-07", "odeur de brûlé, fumée") | {"detected_at": "2001-01-01T00:00:00Z"}
    assert review(plant, [earlier], None) == []


def test_raters_of_whom_there_is_one_only_are_compared_with_nobody(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.store(rate(records(60), "a"))
    prepared = FAMILY.prepare(plant.source(), OPTIONS, plant.resources)
    (rater,) = FAMILY.reviewer.measure_agreement(prepared)
    assert (rater.name, rater.records) == ("a", 60)
    assert {score.compared for score in rater.scores.values()} == {0}
