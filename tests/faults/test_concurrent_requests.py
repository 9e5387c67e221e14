"""Many at once: one trains, everybody gets a clear answer, what was acknowledged is there exactly once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from tests.faults.plant import Plant, assert_truthful, batch, stored

pytestmark = pytest.mark.faults


def test_fifty_trainings_over_three_workers(plant: Plant) -> None:
    plant.start(workers=3, threads=16)
    labels = [f"many{number}x" for number in range(50)]
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda label: plant.post("/train", batch(label)), labels))
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 409}
    for label, answer in zip(labels, answers, strict=True):
        expected = 3 if answer.status_code == 200 else 0
        assert set(stored(plant.data(), label).values()) == {expected}
        if answer.status_code == 409:
            assert answer.json()["error"] == "Training already in progress. Please wait and try again."
            assert answer.json()["is_training"] is True
    assert_truthful(plant)
    added = [s for s in plant.get("/train/sessions?limit=100")["results"] if s["records_added"]]
    spans = sorted((session["started_at"], session["ended_at"]) for session in added)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans)), "two trained at once"


def test_whoever_has_been_answered_is_served_by_the_new_version(plant: Plant) -> None:
    """After /train and after a promotion by hand all workers answer from the champion, the idle ones, too."""
    plant.start(workers=3)
    first = plant.champion()
    assert {plant.answer()[0] for _ in range(12)} == {str(first)}
    trained = plant.post("/train", batch("fresh")).json()
    assert trained["promoted"]
    assert {plant.answer()[0] for _ in range(12)} == {str(trained["version"])}
    assert plant.post(f"/models/scoring/default/versions/{first}/promote").status_code == 200
    assert {plant.answer()[0] for _ in range(12)} == {str(first)}


def test_one_answer_never_mixes_two_versions(plant: Plant) -> None:
    plant.start(workers=2)
    golden = dict([plant.answer()])
    seen = []
    with ThreadPoolExecutor(5) as crowd:
        training = crowd.submit(
            lambda: [plant.post("/train", batch(f"mix{n}x")).status_code for n in range(3)]
        )
        while not training.done():
            seen += list(crowd.map(lambda _: plant.answer(), range(4)))
    assert set(training.result()) == {200}
    for version, scores in seen:
        assert golden.setdefault(version, scores) == scores, "one version gave two answers"
