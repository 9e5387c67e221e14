"""The gate promotes what is as good or better, and says in plain words why it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from prediction.contract import DataImpact, Metric, Scores
from training.gate import UNDO, GateCheck, PromotionRules, decide_promotion, student_quantile

ERROR = PromotionRules(Metric("mean_error", "points"))
SHARE = PromotionRules(Metric("recall", higher_is_better=True))


def scores(losses: list[float], *, beats: bool = True, headline: float | None = None) -> Scores:
    mean = sum(losses) / len(losses) if headline is None else headline
    return Scores(mean, {"error": mean}, {"mean": 1.0}, len(losses), beats, losses)


WANDERING = [0.2 + 0.01 * (n % 5) for n in range(100)]


def test_a_first_version_is_promoted_and_says_whether_it_beats_simple_rules():
    good = decide_promotion(scores(WANDERING), None, ERROR, is_first=True)
    poor = decide_promotion(scores(WANDERING, beats=False), None, ERROR, is_first=True)
    assert good.promoted and poor.promoted
    assert "beats the simple rules" in good.reasons[0]
    assert "does not beat" in poor.reasons[0]
    tie = decide_promotion(scores([1.0] * 9, beats=False), None, ERROR, is_first=True)
    assert "as good as the simple rule mean" in tie.reasons[0]


def test_a_family_may_insist_that_the_baseline_is_beaten_even_by_a_first_version():
    rules = PromotionRules(ERROR.headline, requires_baseline=True)
    verdict = decide_promotion(scores(WANDERING, beats=False), None, rules, is_first=True)
    assert not verdict.promoted
    assert "It does not beat the simple rules (mean error 0.22 points; mean 1)." in verdict.reasons


def test_what_is_no_better_than_chance_is_not_promoted_even_as_a_first_version():
    rules = PromotionRules(SHARE.headline, chance_baselines=("mean",))
    for headline, is_promoted in ((1.2, True), (1.0, False), (0.9, False)):
        verdict = decide_promotion(scores([0.5], headline=headline), None, rules, is_first=True)
        assert verdict.promoted is is_promoted
    assert verdict.reasons == ["It is no better than a rule that looks at nothing (recall 0.9, mean 1)."]


def test_a_limit_of_a_metric_that_could_not_be_measured_is_not_kept():
    rules = PromotionRules(ERROR.headline, limits={"missed": 0.2})
    assert "could not be measured" in decide_promotion(scores([0.5]), None, rules, is_first=True).reasons[0]


def test_a_tie_promotes_because_the_candidate_knows_newer_data():
    verdict = decide_promotion(scores(WANDERING), scores(WANDERING), ERROR)
    assert verdict.promoted
    assert "newer data" in verdict.reasons[0]


def test_a_tie_is_not_enough_where_the_family_requires_improvement():
    rules = PromotionRules(ERROR.headline, requires_improvement=True)
    assert not decide_promotion(scores(WANDERING), scores(WANDERING), rules).promoted
    assert decide_promotion(scores([loss * 0.9 for loss in WANDERING]), scores(WANDERING), rules).promoted


def test_more_than_five_percent_worse_is_rejected_with_both_figures():
    verdict = decide_promotion(scores([loss * 1.06 for loss in WANDERING]), scores(WANDERING), ERROR)
    assert not verdict.promoted
    assert "more than 5% worse" in verdict.reasons[0]
    assert "100 held-out samples" in verdict.reasons[0]


def test_a_small_but_certain_loss_is_rejected():
    verdict = decide_promotion(scores([loss + 0.002 for loss in WANDERING]), scores(WANDERING), ERROR)
    assert not verdict.promoted
    assert "not by chance" in verdict.reasons[0]


def test_a_loss_as_small_as_rounding_is_none_however_steady():
    assert decide_promotion(scores([loss + 1e-6 for loss in WANDERING]), scores(WANDERING), ERROR).promoted


def test_a_small_loss_that_may_be_chance_is_not_held_against_the_candidate():
    noisy = [loss + (0.1 if n % 2 else -0.098) for n, loss in enumerate(WANDERING)]
    assert decide_promotion(scores(noisy), scores(WANDERING), ERROR).promoted


def test_the_direction_of_the_metric_counts():
    better, worse = scores([0.1] * 9, headline=0.95), scores([0.1] * 9, headline=0.80)
    assert decide_promotion(better, worse, SHARE).promoted
    assert not decide_promotion(worse, better, SHARE).promoted


GUARD = PromotionRules(ERROR.headline, guardrail_metrics=[Metric("missed_rate", tolerance=0.1)])


def check_guard(new: list[float], old: list[float]) -> GateCheck:
    """Return the check of a guardrail metric with these losses of devices."""
    candidate, champion = (
        replace(
            scores(WANDERING),
            metrics={"missed_rate": sum(losses) / len(losses)},
            guardrail_losses={"missed_rate": losses},
        )
        for losses in (new, old)
    )
    verdict = decide_promotion(candidate, champion, GUARD)
    (check,) = (check for check in verdict.checks if check.name == "missed_rate")
    assert verdict.promoted is check.passed
    return check


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 15, 30])
def test_a_model_that_misses_what_the_serving_one_finds_is_held(count):
    check = check_guard([1.0] * count, [0.0] * count)
    assert not check.passed
    assert "is worse" in check.detail and f"on {count} held-out" in check.detail


@pytest.mark.parametrize(
    ("count", "loss"), [(2, 1.0), (3, 1.0), (5, 1.0), (9, 1.0), (15, 1.0), (30, 1.0), (9, 4.0), (30, 4.0)]
)
def test_one_device_that_comes_out_otherwise_is_chance(count, loss):
    noise = [0.01 * (n % 3) for n in range(count - 1)]
    assert check_guard([loss, *noise], [0.0] * count).passed


@pytest.mark.parametrize("count", [3, 5, 9, 15])
def test_two_devices_that_come_out_otherwise_are_no_chance(count):
    check = check_guard([1.0, 1.0] + [0.0] * (count - 2), [0.0] * count)
    assert not check.passed


def test_a_steady_loss_below_the_tolerance_is_no_chance():
    old = [0.1 * (n % 3) for n in range(12)]
    steady = check_guard([loss + 0.07 + 0.01 * (n % 2) for n, loss in enumerate(old)], old)
    assert not steady.passed and "not by chance" in steady.detail
    assert check_guard([loss + (0.4 if n % 2 else -0.26) for n, loss in enumerate(old)], old).passed
    assert check_guard([loss + 0.01 for loss in old], old).passed


def test_a_guardrail_says_what_was_compared():
    assert "is no worse: 0 on 6 held-out" in check_guard([0.0] * 6, [0.5] * 6).detail
    assert (
        "is within 0.187 of the serving model's, which may be chance: 0.167 "
        in check_guard([1.0] + [0.0] * 5, [0.0] * 6).detail
    )
    few = check_guard([0.5, 0.0, 0.0], [0.0] * 3)
    assert few.passed and "could not be compared: only 3 held-out" in few.detail
    none = decide_promotion(scores(WANDERING), scores(WANDERING), GUARD)
    assert none.promoted and "missed rate could not be compared: it was not measured" in none.reasons[1]


def test_a_guardrail_without_single_losses_is_compared_as_a_whole():
    def check(new: float, old: float) -> GateCheck:
        candidate, champion = (
            replace(scores(WANDERING), metrics={"missed_rate": value}) for value in (new, old)
        )
        return decide_promotion(candidate, champion, GUARD).checks[-1]

    assert check(0.2, 0.2).detail == "Its missed rate is no worse: 0.2, the serving model's 0.2."
    assert (
        "is within 0.11 of the serving model's, which may be chance: 0.3, the serving model's 0.2"
        in check(0.3, 0.2).detail
    )
    assert not check(0.32, 0.2).passed


def test_no_fair_comparison_lets_newer_data_decide_unless_improvement_is_required():
    assert decide_promotion(scores(WANDERING), None, ERROR).promoted
    strict = decide_promotion(
        scores(WANDERING), None, PromotionRules(ERROR.headline, requires_improvement=True)
    )
    assert not strict.promoted
    assert "not shown to be better" in strict.reasons[0]


def test_contradictory_records_are_rejected_with_the_records_and_the_way_out():
    harm = DataImpact(
        WANDERING, [loss + 0.05 + 0.001 * (n % 3) for n, loss in enumerate(WANDERING)], ["A-1 says 5"]
    )
    verdict = decide_promotion(scores(WANDERING), scores(WANDERING), ERROR, impact=harm, sessions=[7])
    assert not verdict.promoted
    assert "A-1 says 5" in verdict.reasons[0]
    assert "POST /train/undo/7" in verdict.reasons[0]


def test_a_lost_comparison_names_earlier_records_that_no_promoted_model_has_learnt():
    worse = [loss + 0.1 for loss in WANDERING]
    alone = decide_promotion(scores(worse), scores(WANDERING), ERROR, sessions=[8])
    after = decide_promotion(scores(worse), scores(WANDERING), ERROR, sessions=[7, 8])
    assert "undo" not in alone.reasons[0]
    assert "POST /train/undo/7" in after.reasons[0] and "undo/8" not in after.reasons[0]


def test_records_unlike_everything_known_wait_for_a_person_though_nobody_could_have_known_them():
    strange = DataImpact(WANDERING, WANDERING, ["record A-1"], [3.0] * 10, 1.0)
    verdict = decide_promotion(scores(WANDERING), scores(WANDERING), ERROR, impact=strange, sessions=[7])
    assert not verdict.promoted
    assert "3 off what earlier records suggest, 0.22 is usual (record A-1)" in verdict.reasons[0]
    assert "promote this version by hand" in verdict.reasons[0] and "undo/7" in verdict.reasons[0]
    few = DataImpact(WANDERING, WANDERING, [], [3.0] * 9, 1.0)
    assert decide_promotion(scores(WANDERING), scores(WANDERING), ERROR, impact=few).promoted


def test_a_small_harm_is_none():
    harm = DataImpact(WANDERING, [loss * 1.05 + 1e-5 * (n % 3) for n, loss in enumerate(WANDERING)])
    assert decide_promotion(scores(WANDERING), scores(WANDERING), ERROR, impact=harm).promoted


def test_a_harm_that_may_be_chance_is_none():
    harm = DataImpact(WANDERING, [loss + (0.5 if n % 2 else -0.48) for n, loss in enumerate(WANDERING)])
    assert decide_promotion(scores(WANDERING), scores(WANDERING), ERROR, impact=harm).promoted


def test_after_an_undo_the_new_model_serves_even_if_the_old_one_scored_better():
    verdict = decide_promotion(
        scores([loss * 2 for loss in WANDERING]), scores(WANDERING), ERROR, override=UNDO
    )
    assert verdict.promoted
    assert "taken out" in verdict.reasons[0]


def test_what_could_not_be_measured_does_not_replace_what_could():
    unmeasured = scores([0.2, 0.2], headline=float("nan"))
    assert not decide_promotion(unmeasured, scores([0.2, 0.2]), ERROR).promoted


def test_a_serving_model_that_was_measured_on_other_samples_is_not_replaced():
    verdict = decide_promotion(scores([0.1] * 90), scores(WANDERING), ERROR)
    assert not verdict.promoted
    assert "on 90 held-out samples, the serving one on 100" in verdict.reasons[0]


def test_a_serving_model_that_could_not_be_measured_is_not_called_worse():
    unmeasured = scores([0.2, 0.2], headline=float("nan"))
    verdict = decide_promotion(scores([0.2, 0.2]), unmeasured, ERROR)
    assert verdict.promoted and "No held-out data is fair" in verdict.reasons[0]
    strict = PromotionRules(ERROR.headline, requires_improvement=True)
    assert not decide_promotion(scores([0.2, 0.2]), unmeasured, strict).promoted


def test_one_held_out_sample_proves_nothing():
    assert decide_promotion(scores([0.201]), scores([0.2]), ERROR).promoted


@pytest.mark.parametrize("freedom", [4, 10, 500])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_quantile_is_students(freedom: int, confidence: float):
    assert student_quantile(confidence, freedom) == pytest.approx(stats.t.ppf(confidence, freedom), rel=0.01)
