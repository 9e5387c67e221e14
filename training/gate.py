"""The promotion gate: whether a candidate becomes champion, and the reasons in words that a plant can act on.

Two things are checked elsewhere: the split certificate before a model is fitted, and the parity of the saved
copy beside this decision. Where one of them fails, the session fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean, stdev
from typing import Final

from prediction.contract import AnyFamily, DataImpact, Metric, Options, Scores
from storage.models.manifest import VerdictRecord
from training.impact_checks import describe_harm

WORSE_CONFIDENCE: Final = 0.95
WORSE_SHARE: Final = 0.05
# Smaller differences do not count: rounding can be as steady as a loss.
MIN_SHARE: Final = 1e-3
# A paired test of fewer samples rests on the spread of two or three differences.
MIN_PAIRS: Final = 5
# As MIN_SHARE, of guardrail metrics, which are shares.
MIN_GUARDRAIL_LOSS: Final = 0.02
# What one sample may add to a mean loss by chance: all of its own, but where there are one or two, half at most.
MAX_LOSS_OF_ONE: Final = 0.5
IMPACT_CONFIDENCE: Final = 0.999
IMPACT_SHARE: Final = 0.10
MIN_NEW_LOSSES: Final = 10

# Names of checks that decide what becomes of the records.
SEVERE_CASES: Final = "severe_cases"


@dataclass(frozen=True)
class PromotionRules:
    """What a family requires of a candidate.

    Parameters
    ----------
    headline : Metric
        The metric that is compared.
    requires_improvement : bool
        Whether a tie is not enough. Otherwise it promotes, because the candidate knows newer data.
    requires_baseline : bool
        Whether the candidate must beat every naive baseline.
    chance_baselines : sequence of str
        Names of baselines that it must beat in any case.
    guardrail_metrics : sequence of Metric
        Further metrics in which it must not be worse than the champion.
    limits : mapping of str to float
        Maximum values of metrics, set by the training's options.
    is_manual : bool
        Whether a person wants to promote it.
    """

    headline: Metric
    requires_improvement: bool = False
    requires_baseline: bool = False
    chance_baselines: Sequence[str] = ()
    guardrail_metrics: Sequence[Metric] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    is_manual: bool = False

    @classmethod
    def for_training(cls, family: AnyFamily, options: Options) -> PromotionRules:
        """Return the rules for a training of a family with these options."""
        return cls(
            headline=family.headline,
            requires_improvement=family.requires_improvement,
            requires_baseline=family.requires_baseline,
            chance_baselines=family.chance_baselines,
            guardrail_metrics=list(family.guardrail_metrics),
            limits=dict(family.metric_limits(options)),
            is_manual=options.get("promote") == "manual",
        )


@dataclass(frozen=True)
class GateCheck:
    """One check of the gate; ``detail`` is its result as a sentence."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class PromotionVerdict:
    """The decision with every check that led to it."""

    promoted: bool
    checks: Sequence[GateCheck] = ()

    @property
    def blames_records(self) -> bool:
        """Whether the new records may be why the candidate lost against the champion."""
        failed = {check.name for check in self.checks if not check.passed}
        is_first = any(check.name == "first" for check in self.checks)
        # Whoever asked not to promote has said nothing against the records.
        return not is_first and bool(failed - {"by_hand"})

    @property
    def reasons(self) -> list[str]:
        """Why the candidate lost; or, where it won, what speaks for it."""
        return [check.detail for check in self.checks if check.passed == self.promoted]

    def to_dict(self) -> VerdictRecord:
        """Return the verdict as the manifest records it."""
        return {
            "promoted": self.promoted,
            "reasons": self.reasons,
            "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in self.checks],
        }


# Override of a session that takes records out which the champion has learnt.
UNDO: Final = GateCheck(
    "undo", True, "The serving model had learnt from the records that were taken out; this one has not."
)

# In place of a comparison with a champion whose files are damaged.
UNREADABLE: Final = GateCheck(
    "unreadable", True, "The files of the serving model are damaged, so this one takes its place."
)

# Override of a session that learns records from the quarantine.
ACCEPT: Final = GateCheck(
    "accept", True, "A person accepted the records, so they are learnt whatever the comparison says."
)


def decide_promotion(
    candidate: Scores,
    champion: Scores | None,
    rules: PromotionRules,
    *,
    is_first: bool = False,
    impact: DataImpact | None = None,
    sessions: Sequence[int] = (),
    override: GateCheck | None = None,
    further_checks: Sequence[GateCheck] = (),
    is_unreadable: bool = False,
) -> PromotionVerdict:
    """Decide whether a candidate becomes champion.

    Parameters
    ----------
    candidate, champion : Scores
        Measured on the same held-out samples; ``champion`` is None where no fair comparison exists.
    is_first : bool
        Whether there is no champion: the candidate is promoted unless the family requires a beaten baseline.
    impact : DataImpact, optional
        What the new data does to answers that were good before.
    sessions : sequence of int
        Sessions whose records the champion has not learnt, the present one last. The advice on how to take
        harmful records out again names them.
    override : GateCheck, optional
        Why the candidate must replace the champion whatever the comparison says.
    further_checks : sequence of GateCheck
        Checks that hold with an override, too.
    is_unreadable : bool
        Whether there is a champion whose files are damaged: it must go, or every later training meets it again.
    """
    checks = [*check_baseline(candidate, rules), *check_limits(candidate, rules)]
    if rules.is_manual:
        detail = "It was asked not to be promoted by itself: POST …/versions/<number>/promote lets it answer."
        checks.append(GateCheck("by_hand", False, detail))
    if is_first:
        checks.append(GateCheck("first", True, _describe_first(candidate)))
    elif override is not None:
        checks.append(override)
    elif is_unreadable:
        checks.append(UNREADABLE)
    else:
        checks.append(_add_advice(compare(candidate, champion, rules), sessions[:-1]))
        checks += check_guardrails(candidate, champion, rules)
        checks += check_impact(impact, sessions)
    checks += further_checks
    return PromotionVerdict(all(check.passed for check in checks), checks)


def _describe_first(candidate: Scores) -> str:
    if candidate.beats_baselines:
        return "This is the first version of this model, and it beats the simple rules it was compared with."
    if equal := [name for name, value in candidate.baselines.items() if value == candidate.headline]:
        return (
            f"This is the first version of this model. It is as good as the simple rule {' and '.join(equal)}, "
            "and no better."
        )
    return (
        "This is the first version of this model. It does not beat the simple rules beside it: do not rely "
        "on it alone. More records, or other options, may help."
    )


def check_baseline(candidate: Scores, rules: PromotionRules) -> Iterator[GateCheck]:
    """Check that the candidate beats chance, and the simple rules where that is required."""
    for name in rules.chance_baselines:
        chance = candidate.baselines.get(name)
        if chance is not None and rules.headline.gain(candidate.headline, chance) <= 0:
            figures = f"{_format(candidate.headline, rules.headline)}, {name} {chance:.3g}"
            yield GateCheck(
                "chance", False, f"It is no better than a rule that looks at nothing ({figures})."
            )
    if not rules.requires_baseline:
        return
    baselines = ", ".join(f"{name} {value:.3g}" for name, value in sorted(candidate.baselines.items()))
    headline = _format(candidate.headline, rules.headline)
    if candidate.beats_baselines:
        yield GateCheck("baseline", True, f"It beats every simple rule ({headline}; {baselines}).")
    else:
        yield GateCheck("baseline", False, f"It does not beat the simple rules ({headline}; {baselines}).")


def check_limits(candidate: Scores, rules: PromotionRules) -> Iterator[GateCheck]:
    """Check each metric that has a limit."""
    for name, limit in rules.limits.items():
        value, label = candidate.metrics.get(name), name.replace("_", " ")
        if value is None:
            yield GateCheck("limit", False, f"Its {label} could not be measured; {limit:g} was asked for.")
            continue
        passed = value <= limit
        relation = "within" if passed else "above"
        detail = f"Its {label} of {value:.3g} is {relation} the {limit:g} asked for."
        yield GateCheck("limit", passed, detail)


def check_guardrails(
    candidate: Scores, champion: Scores | None, rules: PromotionRules
) -> Iterator[GateCheck]:
    """Check that the further metrics are not worse, in pairs of held-out samples where there are such losses."""
    if champion is None:
        return
    for metric in rules.guardrail_metrics:
        new_losses, old_losses = (
            scores.guardrail_losses.get(metric.name, ()) for scores in (candidate, champion)
        )
        new, old = candidate.metrics.get(metric.name), champion.metrics.get(metric.name)
        if new_losses and len(new_losses) == len(old_losses):
            yield _compare_pairs(metric, new_losses, old_losses)
        elif new is not None and old is not None:
            limit, loss = metric.tolerance + WORSE_SHARE * abs(old), -metric.gain(new, old)
            yield _check_loss(metric, loss, limit, f"{new:.3g}, the serving model's {old:.3g}")
        else:
            detail = f"{_name(metric)} could not be compared: it was not measured on the held-out samples."
            yield GateCheck(metric.name, True, detail)


def _compare_pairs(metric: Metric, new: Sequence[float], old: Sequence[float]) -> GateCheck:
    """Compare the losses of a guardrail metric on each held-out sample that has it.

    A loss is real if it is above the tolerance and above what the worst sample alone accounts for, or if it is
    steady over the samples.
    """
    count, differences = len(new), _paired_differences(new, old)
    loss, share = fmean(differences), WORSE_SHARE * fmean(old)
    worst = min(max(0.0, *differences) / count, MAX_LOSS_OF_ONE)
    limit = max(metric.tolerance, MIN_GUARDRAIL_LOSS + worst) + share
    figures = f"{fmean(new):.3g} on {count} held-out samples, the serving model's {fmean(old):.3g}"
    if not 0 < loss <= limit:
        return _check_loss(metric, loss, limit, figures)
    if count < MIN_PAIRS:
        detail = f"{_name(metric)} could not be compared: only {count} held-out samples have it ({figures})."
        return GateCheck(metric.name, True, detail)
    if loss > MIN_GUARDRAIL_LOSS + share and is_significant(differences, WORSE_CONFIDENCE):
        return GateCheck(metric.name, False, f"{_name(metric)} is worse, and not by chance: {figures}.")
    return _check_loss(metric, loss, limit, figures)


def _check_loss(metric: Metric, loss: float, limit: float, figures: str) -> GateCheck:
    """Return the check of a guardrail metric with this loss; a limited one may be chance."""
    if loss <= 0:
        detail = "is no worse"
    elif loss <= limit:
        detail = f"is within {limit:.3g} of the serving model's, which may be chance"
    else:
        detail = f"is worse by more than {limit:.3g}"
    return GateCheck(metric.name, loss <= limit, f"{_name(metric)} {detail}: {figures}.")


def _name(metric: Metric) -> str:
    """Return the metric as the subject of a sentence."""
    return f"Its {metric.name.replace('_', ' ')}"


def compare(candidate: Scores, champion: Scores | None, rules: PromotionRules) -> GateCheck:
    """Compare with the champion on the same samples: no worse, and better where the family requires it."""

    def check(passed: bool, detail: str) -> GateCheck:
        return GateCheck("comparison", passed, detail)

    if champion is not None and (fault := _find_incomparable(candidate, champion)):
        return check(False, fault)
    if champion is None or not math.isfinite(champion.headline):
        strict = rules.requires_improvement
        effect = "so it was not shown to be better." if strict else "so the newer data decides."
        return check(not strict, f"No held-out data is fair to both this and the serving model, {effect}")
    figures = (
        f"on the same {candidate.held_out} held-out samples this model has "
        f"{_format(candidate.headline, rules.headline)}, the serving one {champion.headline:.3g}"
    )
    gain = rules.headline.gain(candidate.headline, champion.headline)
    increases = _paired_differences(candidate.losses, champion.losses)
    if -gain > WORSE_SHARE * abs(champion.headline) + 1e-12:
        return check(False, f"It is more than {WORSE_SHARE:.0%} worse: {figures}.")
    if -gain > MIN_SHARE * abs(champion.headline) and is_significant(increases, WORSE_CONFIDENCE):
        return check(False, f"It is worse, and not by chance: {figures}.")
    if rules.requires_improvement and gain <= 0:
        return check(False, f"It is not better: {figures}.")
    rank = "better" if gain > 0 else "as good, and it knows newer data"
    return check(True, f"It is {rank}: {figures}.")


def _find_incomparable(candidate: Scores, champion: Scores) -> str:
    """Return why nothing says that a candidate is as good; empty where it can be compared, or the champion cannot."""
    new, old = len(candidate.losses), len(champion.losses)
    if not math.isfinite(candidate.headline):
        return "It could not be measured on the held-out samples."
    if new and old and new != old:
        return (
            f"It was measured on {new} held-out samples, the serving one on {old}: they cannot be compared."
        )
    return ""


def check_impact(impact: DataImpact | None, sessions: Sequence[int]) -> Iterator[GateCheck]:
    """Check whether the new data spoils answers that were good before, as contradictory records do."""
    if impact is None:
        return
    if harm := describe_harm(impact):
        yield GateCheck("harm", False, harm)
        return
    increases = _paired_differences(impact.losses_with, impact.losses_without)
    if not increases:
        return
    usual = fmean(impact.losses_without)
    suspects = "; ".join(impact.reasons)
    mentioned = f" ({suspects})" if suspects else ""
    is_unlike_known = (
        impact.max_loss_on_new is not None
        and len(impact.losses_on_new) >= MIN_NEW_LOSSES
        and fmean(impact.losses_on_new) > impact.max_loss_on_new
    )
    if is_unlike_known:
        detail = (
            "The new records are unlike everything known: their scores are "
            f"{fmean(impact.losses_on_new):.2g} off what earlier records suggest, {usual:.2g} is usual"
            f"{mentioned}. If they are right, promote this version by hand."
        )
        yield GateCheck("harm", False, detail + _undo_advice(sessions))
    elif fmean(increases) > IMPACT_SHARE * usual and is_significant(increases, IMPACT_CONFIDENCE):
        share = f"by {fmean(increases) / usual:.0%}" if usual else "from zero"
        detail = (
            f"The new records contradict what was known: errors on earlier held-out samples rise {share}"
            f"{mentioned}."
        )
        yield GateCheck("harm", False, detail + _undo_advice(sessions))
    else:
        yield GateCheck("harm", True, "The new records do not spoil earlier answers.")


def _add_advice(check: GateCheck, sessions: Sequence[int]) -> GateCheck:
    """Add how to undo earlier sessions: the lost comparison may be due to records no champion has learnt."""
    if check.passed or not sessions:
        return check
    cause = " Records of earlier sessions that were not promoted train it, too."
    return replace(check, detail=f"{check.detail}{cause}{_undo_advice(sessions)}")


def _undo_advice(sessions: Sequence[int]) -> str:
    calls = " or ".join(f"POST /train/undo/{session}" for session in sessions)
    return f" {calls} takes the records of that session out again." if calls else ""


def _paired_differences(new: Sequence[float], old: Sequence[float]) -> list[float]:
    """Return the differences of paired losses; none where they cannot be paired."""
    return [a - b for a, b in zip(new, old, strict=True)] if len(new) == len(old) else []


def is_significant(differences: Sequence[float], confidence: float) -> bool:
    """Return whether the mean of paired differences is above zero, by a one-sided t test."""
    count = len(differences)
    if count < 2:
        return False
    mean, spread = fmean(differences), stdev(differences)
    if spread == 0:
        return mean > 1e-12
    return mean / (spread / math.sqrt(count)) > student_quantile(confidence, count - 1)


def student_quantile(confidence: float, freedom: int) -> float:
    """Return a quantile of Student's t distribution, by the expansion of Abramowitz and Stegun, 26.7.5.

    Own code, because a web worker must not import SciPy.

    Parameters
    ----------
    confidence : float
        Between 0 and 1.
    freedom : int
        Degrees of freedom; the error is below 1 % from 4 on.
    """
    z = NormalDist().inv_cdf(confidence)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    quantile: float = z + sum(term / freedom**power for power, term in enumerate(terms, 1))
    return quantile


def _format(value: float, metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.name.replace('_', ' ')} {value:.3g}{unit}"
