"""The scoring family from CSV files to answers: learns, saves, loads, judges, and says what it lacks."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from errors import NotEnoughData
from prediction.contract import AnyPredictor, Champion, DataImpact, Resources, no_progress
from prediction.scoring.data import preparation
from prediction.scoring.data.preparation import PreparedReports
from prediction.scoring.evaluation.metrics import find_largest_errors
from prediction.scoring.family import ScoringFamily
from prediction.scoring.features import history_features
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.neighbours import FADING_VOTES
from prediction.scoring.model import fitting
from prediction.scoring.model.fitting import ScoringModel
from prediction.scoring.model.hyperparameters import NUM_TARGETS, ScoringHyperparameters, choose_cost
from prediction.scoring.requests.parser import ScoringRequestParser
from prediction.scoring.serving.artefacts import write_artefacts
from prediction.scoring.serving.build import build_artefacts
from prediction.scoring.serving.predictor import ScoringPredictor
from storage.anomaly_reports.csv_store import SCORES
from tests.prediction.scoring.plant import DEVICES, FAULTS, record, records, write_reports
from training.execution.ipc import encode, rebuild
from training.execution.parity import largest_deviation
from training.impact_checks import describe_harm

OPTIONS = {"seed": 42, "coverage": 0.9}
FAMILY = ScoringFamily()


Training = tuple[PreparedReports, ScoringModel, Champion]


class Plant:
    """A data folder with a cache, and a training from start to end."""

    first: Training

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.resources = Resources(folder / "cache", "none")

    def source(self, pending: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        path = self.folder / "pending.json"
        path.write_text(json.dumps(pending or []))
        return {"folder": str(self.folder / "data"), "pending": str(path) if pending else None}

    def store(self, reports: list[dict[str, Any]]) -> None:
        write_reports(self.folder / "data", reports)

    def train(self, name: str, pending: list[dict[str, Any]] | None = None) -> Training:
        prepared = FAMILY.prepare(self.source(pending), OPTIONS, self.resources)
        assert prepared.certificate.violations() == []
        model = FAMILY.fit(prepared, OPTIONS, no_progress)
        final = FAMILY.refit(model, prepared, OPTIONS, no_progress)
        folder = self.folder / name
        folder.mkdir()
        FAMILY.save(final, prepared, folder)
        return prepared, final, Champion(1, folder, {})

    def predictor(self, champion: Champion) -> AnyPredictor:
        return ScoringPredictor.load(champion.folder, self.resources)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Return a plant with four hundred reports and one training, ``first``, to be copied."""
    plant = Plant(tmp_path_factory.mktemp("trained"))
    plant.store(records(400))
    plant.first = plant.train("v1")
    return plant


@pytest.fixture
def plant(trained: Plant, tmp_path: Path) -> Plant:
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    plant = Plant(tmp_path)
    prepared, model, champion = trained.first
    plant.first = prepared, model, replace(champion, folder=tmp_path / champion.folder.name)
    return plant


def test_learns_what_there_is_to_learn(plant: Plant) -> None:
    prepared, _, champion = plant.first
    scores = FAMILY.evaluate(FAMILY.fit(prepared, OPTIONS, no_progress), prepared)
    assert scores.headline < 0.15
    assert scores.beats_baselines
    assert set(scores.baselines) == {"majority", "equipment_mean"}
    assert scores.baselines["majority"] > 0.5
    assert len(scores.losses) == scores.held_out == prepared.rows - prepared.facts["training_rows"]
    assert scores.headline == pytest.approx(np.mean(scores.losses))
    answer = plant.predictor(champion).predict([record(0, "V-07", "odeur de brûlé, fumée")], {})[0]
    assert [answer["scores"][score]["score"] for score in SCORES] == [3.0, 2.0, 5.0]
    assert answer["mean_score"] == 3.33


def test_the_largest_errors_name_held_out_reports_with_both_scores(plant: Plant) -> None:
    split = plant.first[0].split
    truth = split.training_set.scores[split.boundary :]
    levels = np.where(np.isnan(truth), 1, np.nan_to_num(truth)).astype(int)
    assert list(find_largest_errors(levels, truth, split)) == []
    place = tuple(np.argwhere(truth == 5)[0])
    levels[place] = 1
    (figure,) = find_largest_errors(levels, truth, split)
    report = int(split.training_set.order[split.boundary + place[0]])
    reports = split.training_set.reports
    assert figure["labels"] == [f"{reports.excerpt(report)} ({SCORES[place[1]].replace('_', ' ')})"]
    assert [series["values"] for series in figure["series"]] == [[5.0], [1.0]]
    assert figure["records"] == [reports.anomaly_ids[report]]


def test_an_answer_has_all_its_parts(plant: Plant) -> None:
    predictor = plant.predictor(plant.first[2])
    answer = predictor.predict(
        [record(0, "P-10", "vibration élevée")], {"similar_reports": 3, "coverage": 0.8}
    )[0]
    for score in SCORES:
        told = answer["scores"][score]
        assert set(told["probabilities"]) == set("12345")
        assert sum(told["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
        assert told["score"] in told["conformal_set"]
        assert told["coverage"] == 0.8
    assert len(answer["similar_reports"]) == 3
    similar = [shown["similarity"] for shown in answer["similar_reports"]]
    assert similar == sorted(similar, reverse=True)
    assert "vibration" in answer["similar_reports"][0]["description"]
    json.dumps(answer, allow_nan=False)
    assert (
        predictor.predict([record(0, "P-10", "vibration élevée")], {"similar_reports": 0})[0][
            "similar_reports"
        ]
        == []
    )


def test_the_saved_model_answers_like_the_trained_one(plant: Plant) -> None:
    prepared, model, champion = plant.first
    probe = FAMILY.build_probe(model, prepared)
    assert len(probe.inputs) == len(probe.expected) == 64
    assert probe.options["similar_reports"] > 0
    predictor = plant.predictor(champion)
    assert largest_deviation(lambda inputs: predictor.predict(inputs, probe.options), probe) < 1e-4


def test_evidence_whose_order_may_hang_on_rounding_is_not_compared(tmp_path: Path) -> None:
    """Twenty reports of one text hide how far away the next text is."""
    plant = Plant(tmp_path)
    twins = [record(n, "P-10", "vibration élevée", description="ab"[n % 2] * 3) for n in range(40)]
    plant.store(twins)
    prepared, model, champion = plant.train("v1")
    probe = FAMILY.build_probe(model, prepared)
    assert len(probe.inputs) == len(probe.expected) == 64
    assert probe.options == {"similar_reports": 0}
    predictor = plant.predictor(champion)
    assert largest_deviation(lambda inputs: predictor.predict(inputs, probe.options), probe) < 1e-4


def test_the_same_data_give_the_same_model_with_and_without_what_was_kept(plant: Plant) -> None:
    one = plant.first[1]
    two = plant.train("v2")[1]
    plant.resources = Resources(plant.folder / "other-cache", "none")
    three = plant.train("v3")[1]
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.weights, three.weights)


def test_a_few_more_reports_go_on_from_the_kept_fit_of_a_long_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        preparation, "ScoringHyperparameters", lambda: ScoringHyperparameters(fitted_rows=100, neighbours=50)
    )
    plant = Plant(tmp_path)
    plant.store(records(400))
    plant.store(records(300))
    plant.train("v1")
    kept = anchors(plant)
    assert len(kept) == 1
    plant.train("v2", pending=records(2, seed=9, first=400))
    assert anchors(plant) == kept


def anchors(plant: Plant) -> set[str]:
    return {file.name for file in plant.resources.cache_dir.rglob("anchor-*")}


def test_the_order_in_which_reports_came_does_not_matter_where_their_times_differ(tmp_path: Path) -> None:
    models = []
    for name, reports in (("a", records(120)), ("b", records(120)[::-1])):
        there = Plant(tmp_path / name)
        there.store(reports)
        models.append(there.train("v1")[1])
    np.testing.assert_array_equal(models[0].weights, models[1].weights)


def test_works_from_ten_records(tmp_path: Path) -> None:
    small = Plant(tmp_path)
    small.store(records(9))
    with pytest.raises(NotEnoughData, match="10 reports or more, there are 9"):
        small.train("v0")
    prepared, _, champion = small.train("v1", pending=[record(9, "P-10", "vibration élevée")])
    assert prepared.rows == 10
    assert prepared.facts["new_rows"] == 1
    for answer in small.predictor(champion).predict(records(5), {}):
        assert all(1 <= answer["scores"][score]["score"] <= 5 for score in SCORES)


@pytest.mark.parametrize(("options", "cost"), [({}, 1.0), ({"cost": 3.0}, 3.0)])
def test_the_default_cost_of_few_reports_is_the_median(
    tmp_path: Path, options: dict[str, float], cost: float
) -> None:
    """The probability of a 5 is too rough there to lean on; a cost that is asked for is used."""
    small = Plant(tmp_path)
    small.store(records(20))
    asked = ScoringRequestParser().parse_options(options)
    prepared = FAMILY.prepare(small.source(), asked, small.resources)
    assert prepared.split.cost == prepared.facts["cost"] == cost


def test_the_default_cost_rises_with_the_reports() -> None:
    assert [choose_cost(rows) for rows in (10, 100, 200, 300, 5_000)] == [1.0, 1.0, 2.5, 4.0, 4.0]


def test_ten_records_of_one_and_the_same_second(tmp_path: Path) -> None:
    small = Plant(tmp_path)
    small.store([one | {"detected_at": "2024-01-01 00:00:00"} for one in records(10)])
    prepared, _, champion = small.train("v1")
    assert prepared.certificate.violations() == []
    assert len(small.predictor(champion).predict(records(2), {})) == 2


def test_a_class_that_never_occurs_and_a_score_that_never_varies(tmp_path: Path) -> None:
    flat = Plant(tmp_path)
    flat.store([one | {"fiability_score": 2.0, "availability_score": 2.5} for one in records(60)])
    answers = flat.predictor(flat.train("v1")[2]).predict(records(20), {"similar_reports": 0})
    assert {answer["scores"]["fiability"]["score"] for answer in answers} == {2.0}
    assert {answer["scores"]["availability"]["score"] for answer in answers} <= {2.0, 3.0}


def test_a_score_without_any_report_is_named(tmp_path: Path) -> None:
    lacking = Plant(tmp_path)
    lacking.store(records(30))
    (tmp_path / "data" / "fiabilite.csv").unlink()
    with pytest.raises(NotEnoughData, match="fiability"):
        lacking.train("v1")


def test_only_new_texts_are_worked_on(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    voted: list[int] = []

    def counted_encode(reports: list[Any]) -> Any:
        encoded.append(len(reports))
        return encode_reports(reports)

    votes = HistoryFeatures.votes

    def counted_votes(self: HistoryFeatures, asked: Any, past_counts: Any) -> Any:
        voted.append(len(asked))
        return votes(self, asked, past_counts)

    monkeypatch.setattr("prediction.scoring.data.training_set.encode_reports", counted_encode)
    monkeypatch.setattr(history_features.HistoryFeatures, "votes", counted_votes)
    FAMILY.prepare(plant.source(records(3, seed=9, first=400)), OPTIONS, plant.resources)
    assert sum(encoded) <= 3
    assert voted == [3]


def test_fits_are_cached(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []

    def never(*_: Any, **__: Any) -> Any:
        fits.append(1)
        raise AssertionError("fitted again")

    prepared = FAMILY.prepare(plant.source(records(1, seed=9, first=400)), OPTIONS, plant.resources)
    monkeypatch.setattr("prediction.scoring.model.fitting.logistic.fit", never)
    FAMILY.evaluate(FAMILY.fit(prepared, OPTIONS, no_progress), prepared)
    assert fits == []


def test_the_boundary_stands_still_while_a_few_reports_come() -> None:
    step = preparation.boundary_step(5_075)
    boundaries = {
        preparation.find_boundary(np.arange(rows), preparation.boundary_step(rows))
        for rows in range(5_075, 5_115)
    }
    assert step == 64
    assert len(boundaries) <= 2
    for rows in (10, 11, 25, 400, 5_075, 100_000):
        boundary = preparation.find_boundary(np.arange(rows), preparation.boundary_step(rows))
        assert 0.5 * rows <= boundary <= rows - 2


def test_no_moment_lies_on_both_sides_of_the_boundary() -> None:
    past_counts = np.arange(200)
    past_counts[170:190] = 170
    assert preparation.find_boundary(past_counts, 1) == 170


def test_the_champion_with_the_same_hyperparameters_is_measured_on_the_same_reports(plant: Plant) -> None:
    _, _, champion = plant.first
    prepared = FAMILY.prepare(plant.source(records(5, seed=9, first=400)), OPTIONS, plant.resources)
    candidate = FAMILY.evaluate(FAMILY.fit(prepared, OPTIONS, no_progress), prepared)
    beside = FAMILY.evaluate_champion(champion, prepared, OPTIONS)
    assert beside is not None
    assert beside.losses == candidate.losses


def test_a_champion_of_other_features_is_not_compared(plant: Plant) -> None:
    _, _, champion = plant.first
    state = json.loads((champion.folder / "scoring.json").read_text())
    state["hyperparameters"]["format"] -= 1
    (champion.folder / "scoring.json").write_text(json.dumps(state))
    prepared = FAMILY.prepare(plant.source(records(5, seed=9, first=400)), OPTIONS, plant.resources)
    assert FAMILY.evaluate_champion(champion, prepared, OPTIONS) is None


def test_reports_that_belong_to_the_past_change_what_is_compared(plant: Plant) -> None:
    _, _, champion = plant.first
    late = [one | {"detected_at": "2022-06-01 00:00:00"} for one in records(30, seed=9, first=400)]
    prepared = FAMILY.prepare(plant.source(late), OPTIONS, plant.resources)
    beside = FAMILY.evaluate_champion(champion, prepared, OPTIONS)
    assert beside is not None
    assert len(beside.losses) == prepared.rows - prepared.facts["training_rows"]


def contradictory(count: int) -> list[dict[str, Any]]:
    """Return reports whose scores are turned upside down."""
    turned = []
    for one in records(count, seed=9, first=400):
        scores = {name: 6.0 - one[name] for name in one if name.endswith("_score")}
        turned.append(one | scores)
    return turned


def excess(plant: Plant, champion: Champion, pending: list[dict[str, Any]]) -> tuple[float, list[str]]:
    """Return the z of the paired errors with and without new records, and the records named."""
    prepared = FAMILY.prepare(plant.source(pending), OPTIONS, plant.resources)
    model = FAMILY.fit(prepared, OPTIONS, no_progress)
    harm = FAMILY.reviewer.assess_new_data(model, champion, prepared, OPTIONS)
    assert harm is not None
    more = np.array(harm.losses_with) - np.array(harm.losses_without)
    return float(more.mean() / (more.std() / np.sqrt(len(more)) + 1e-9)), list(harm.reasons)


def test_contradictory_reports_do_measurable_harm_and_are_named(plant: Plant) -> None:
    _, _, champion = plant.first
    harm, named = excess(plant, champion, contradictory(150))
    assert harm > 2.33
    assert any("A-4" in reason and "where earlier reports suggest" in reason for reason in named)


def test_honest_reports_do_no_harm(plant: Plant) -> None:
    _, _, champion = plant.first
    harm, named = excess(plant, champion, records(150, seed=9, first=400))
    assert harm < 1.0
    assert len(named) <= 2


@pytest.mark.parametrize("batch", [3, 9, 30])
def test_small_harmful_batches_add_up_until_they_are_held_back(plant: Plant, batch: int) -> None:
    """Every process safety scored 1: held back before 30 such records are learnt."""
    _, _, anchor = plant.first
    sent = 0
    while sent < 30:
        bad = [one | {"process_safety_score": 1.0} for one in records(batch, seed=sent, first=400 + sent)]
        impact = assess(plant, anchor, bad)
        sent += batch
        if harm := describe_harm(impact):
            assert "process safety" in harm
            return
        write_reports(plant.folder / "data", bad, session=sent)
    raise AssertionError("30 poisoned records were learnt")


def one_level(count: int, score: str, level: float, seed: int, first: int) -> list[dict[str, Any]]:
    """Return reports of which one score is always the same."""
    return [one | {f"{score}_score": level} for one in records(count, seed=seed, first=first)]


@pytest.mark.parametrize("batch", [3, 9])
@pytest.mark.parametrize(("score", "level"), [("process_safety", 1.0), ("availability", 1.0)])
def test_a_drip_that_goes_on_after_a_hold_is_held_back_again(
    plant: Plant, score: str, level: float, batch: int
) -> None:
    """Rows in quarantine are evidence about those that come, and nothing is fitted to them."""
    _, _, anchor = plant.first
    before = FAMILY.prepare(plant.source(), OPTIONS, plant.resources)
    held = one_level(18, score, level, seed=7, first=400)
    write_reports(plant.folder / "data", held, session=2, quarantined=True)
    waiting = FAMILY.prepare(plant.source(), OPTIONS, plant.resources)
    assert waiting.fingerprint == before.fingerprint
    assert len(waiting.split.training_set) == 400
    learnt = 0
    for number in range(30 // batch):
        first = 420 + batch * number
        bad = one_level(batch, score, level, seed=20 + number, first=first)
        if describe_harm(assess(plant, anchor, bad)) is None:
            learnt += batch
            write_reports(plant.folder / "data", bad, session=3 + number)
    assert learnt <= 9


def test_genuine_batches_are_not_held_back_beside_a_quarantine(plant: Plant) -> None:
    _, _, anchor = plant.first
    held = one_level(18, "process_safety", 1.0, seed=7, first=400)
    write_reports(plant.folder / "data", held, session=2, quarantined=True)
    for number in range(6):
        good = records(9, seed=50 + number, first=420 + 9 * number)
        assert describe_harm(assess(plant, anchor, good)) is None
        write_reports(plant.folder / "data", good, session=3 + number)


def test_a_champion_with_the_columns_of_the_newest_mentions_still_gives_evidence(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 0.1 had features of format 3; after an update its champion is the anchor."""
    further = 3 + len(history_features.WITH_LAST) + len(FADING_VOTES)
    wide = history_features.NUM_FEATURES + further * NUM_TARGETS
    with monkeypatch.context() as previous:
        previous.setattr(fitting, "SHAPE", (wide, NUM_TARGETS))
        split = FAMILY.prepare(plant.source(), OPTIONS, plant.resources).split
        third = replace(split.hyperparameters, format=3)
        split = preparation.build_split(split.training_set, third, OPTIONS, plant.resources)
        model = fitting.refit_all(fitting.fit_held_out(split), split)
        folder = plant.folder / "format-3"
        folder.mkdir()
        write_artefacts(build_artefacts(model, split), split.training_set.keys, folder)
    impact = assess(plant, Champion(1, folder, {}), one_level(27, "process_safety", 1.0, seed=7, first=400))
    assert impact.sequential is not None and impact.sequential.log_e_value > 7


def test_genuine_batches_are_not_held_back(plant: Plant) -> None:
    _, _, anchor = plant.first
    for batch in range(6):
        good = records(9, seed=50 + batch, first=400 + 9 * batch)
        assert describe_harm(assess(plant, anchor, good)) is None
        write_reports(plant.folder / "data", good, session=batch)


def test_reports_of_a_new_kind_are_new_and_not_harmful(plant: Plant) -> None:
    """Safety walks begin: their reports read unlike all others and are always scored 5."""
    _, _, anchor = plant.first
    text = {"description": "SAFETY garde-corps arraché sur la passerelle nord", "process_safety_score": 5.0}
    new = [
        one | text if number % 3 == 0 else one for number, one in enumerate(records(48, seed=9, first=400))
    ]
    impact = assess(plant, anchor, new)
    assert impact.sequential is not None
    assert impact.sequential.log_e_value > 7
    assert not impact.sequential.is_harmful


def test_the_poisoned_batch_among_genuine_ones_is_ranked_first(plant: Plant) -> None:
    _, _, anchor = plant.first
    for session in range(2, 8):
        batch = records(12, seed=session, first=400 + 12 * session)
        if session == 5:
            batch = [one | {name: 6 - one[name] for name in one if name.endswith("_score")} for one in batch]
        write_reports(plant.folder / "data", batch, session=session)
    prepared = FAMILY.prepare(plant.source(), OPTIONS, plant.resources)
    ranked = FAMILY.reviewer.measure_influence(anchor, prepared, OPTIONS)
    assert [batch.session_id for batch in ranked[:1]] == [5]
    assert ranked[0].loss_change > 0
    assert ranked[0].log_e_value == max(batch.log_e_value for batch in ranked)
    assert {batch.rows for batch in ranked} == {12}


def assess(plant: Plant, anchor: Champion, pending: list[dict[str, Any]]) -> DataImpact:
    prepared = FAMILY.prepare(plant.source(pending), OPTIONS, plant.resources)
    model = FAMILY.fit(prepared, OPTIONS, no_progress)
    impact = FAMILY.reviewer.assess_new_data(model, anchor, prepared, OPTIONS)
    assert impact is not None
    assert rebuild(DataImpact, json.loads(encode(impact))) == impact
    return impact


def test_late_reports_of_a_strict_rater_do_not_decide_how_others_are_scored(plant: Plant) -> None:
    asked = records(200, seed=5, first=1000)

    def mean_scores(name: str) -> np.ndarray:
        answers = plant.predictor(plant.train(name)[2]).predict(asked, {"similar_reports": 0})
        return np.array([answer["mean_score"] for answer in answers])

    before = mean_scores("before")
    strict = records(40, seed=6, first=400)
    fields = [f"{score}_score" for score in SCORES]
    plant.store([{**report, **{name: min(5.0, report[name] + 1) for name in fields}} for report in strict])
    # .70 with the features of format 4: the rater's own scores are about .9 higher than others would be.
    assert (mean_scores("after") - before).mean() < 0.6


def test_nothing_new_can_do_no_harm(plant: Plant) -> None:
    prepared, model, champion = plant.first
    assert FAMILY.reviewer.assess_new_data(model, champion, prepared, OPTIONS) is None


def test_without_a_sentence_model_it_trains_and_says_so(plant: Plant) -> None:
    _, _, champion = plant.first
    told = json.loads((champion.folder / "model_info.json").read_text())["facts"]["sentence_model"]
    assert told["name"] is None
    assert "'none'" in told["absent"]
    missing = Resources(plant.folder / "cache", "no-such-model")
    answer = ScoringPredictor.load(champion.folder, missing).predict(
        [record(0, "B-A", "fuite d'huile au palier")], {}
    )[0]
    assert answer["similar_reports"][0]["similarity"] > 0.9


def test_reports_with_default_scores_are_counted_and_not_trained_on(tmp_path: Path) -> None:
    there = Plant(tmp_path)
    reports = records(400)
    flat = {"availability_score": 5.0, "fiability_score": 1.0, "process_safety_score": 3.0}
    there.store([one | flat if 200 <= number < 280 else one for number, one in enumerate(reports)])
    prepared, _, champion = there.train("v1")
    assert prepared.facts["default_scored"] >= 60
    answer = there.predictor(champion).predict([record(0, "B-B", "calorifuge à remettre en état")], {})[0]
    assert [answer["scores"][score]["score"] for score in SCORES] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["availability_model.pkl", "process_safety_model.joblib"])
def test_downloads_are_scikit_learn_models_that_give_the_same_scores(
    plant: Plant, tmp_path: Path, name: str
) -> None:
    prepared, model, champion = plant.first
    assert FAMILY.download(champion.folder, name, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    loaded = pickle.loads(content) if name.endswith(".pkl") else joblib.load(tmp_path / name)
    rows = prepared.split.training_set
    asked = encode_reports(records(20, seed=3))
    found = HistoryFeatures(rows.timeline(), prepared.split.hyperparameters).compute(
        asked, np.full(20, len(rows))
    )
    answers = plant.predictor(champion).predict(records(20, seed=3), {"similar_reports": 0})
    score = name.removesuffix(Path(name).suffix).removesuffix("_model")
    expected = [answer["scores"][score]["score"] for answer in answers]
    assert (1.0 + (loaded.predict(found) * [1, 2, 3, 4]).max(axis=1)).tolist() == expected
    assert model.weights.shape[0] == loaded.n_features_in_


def test_there_is_no_other_download(plant: Plant, tmp_path: Path) -> None:
    _, _, champion = plant.first
    assert not FAMILY.download(champion.folder, "other.pkl", tmp_path / "other.pkl")
    assert not (tmp_path / "other.pkl").exists()


def test_reports_with_blank_fields_are_scored(plant: Plant) -> None:
    predictor = plant.predictor(plant.first[2])
    bare = [{"description": "fuite"}, {"description": "fuite", "equipment_id": "", "system": " "}]
    one, two = predictor.predict(bare, {"similar_reports": 0})
    assert one == two


def test_training_imports_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, prediction.scoring.family; "
        "sys.exit(bool({'torch', 'sklearn', 'scipy', 'onnx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_invented_plant_is_not_trivial() -> None:
    assert len({(device, fault) for device in DEVICES for fault in FAULTS}) == 25
