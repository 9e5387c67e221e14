"""The gate: whether a candidate becomes champion, and why, in words that a plant can act on.

A candidate gets here only with a split certificate that holds; that its saved copy answers like the trained
model is proved beside the judging, and the session fails where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean, stdev

from prediction.contract import JSON, DataImpact, Metric, Scores

WORSE_CONFIDENCE = 0.95
WORSE_SHARE = 0.05
LEAST_SHARE = 1e-3
"""Less than this is no difference: rounding can be as steady as a loss."""
HARM_CONFIDENCE = 0.999
HARM_SHARE = 0.10
FEWEST_STRANGE = 10
GUARDED_ROOM = 0.02


@dataclass(frozen=True)
class PromotionRules:
    """What a family asks of a candidate.

    Parameters
    ----------
    headline : Metric
        What is compared.
    requires_improvement : bool
        A tie is not enough; otherwise it promotes, because the candidate knows newer data.
    requires_baseline : bool
        The candidate must beat every naive baseline.
    guarded : sequence of Metric
        Further metrics in which it must not be worse than the champion.
    limits : mapping of str to float
        Largest values of metrics that whoever asked for the training allows.
    by_hand : bool
        Whoever asked wants to promote it himself.
    """

    headline: Metric
    requires_improvement: bool = False
    requires_baseline: bool = False
    guardrail_metrics: Sequence[Metric] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    by_hand: bool = False

    @classmethod
    def from_dict(cls, told: JSON) -> PromotionRules:
        """From what the child process says."""
        guardrail_metrics = [Metric(**metric) for metric in told.get("guardrail_metrics", ())]
        return cls(**{**told, "headline": Metric(**told["headline"]), "guardrail_metrics": guardrail_metrics})


@dataclass(frozen=True)
class GateCheck:
    """One question the gate asked; ``detail`` is the answer as a sentence."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class PromotionVerdict:
    """The gate's decision with everything it looked at."""

    promoted: bool
    checks: Sequence[GateCheck] = field(default=())

    @property
    def reasons(self) -> list[str]:
        """Why the candidate lost or, where it won, what spoke for it."""
        return [check.detail for check in self.checks if check.passed == self.promoted]

    def to_dict(self) -> JSON:
        """The verdict as JSON, for the manifest."""
        checks = [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in self.checks]
        return {"promoted": self.promoted, "reasons": self.reasons, "checks": checks}


def decide_promotion(
    candidate: Scores,
    champion: Scores | None,
    rules: PromotionRules,
    *,
    first: bool = False,
    harm: DataImpact | None = None,
    sessions: Sequence[int] = (),
    binding: bool = True,
) -> PromotionVerdict:
    """Decide whether a candidate becomes champion.

    Parameters
    ----------
    candidate, champion : Scores
        Measured on the same held-out samples; ``champion`` is None where no fair comparison exists.
    first : bool
        There is no champion: the candidate is promoted unless the family asks for a beaten baseline.
    harm : Harm, optional
        What the new data does to answers that were good before.
    sessions : sequence of int
        Whose records the champion has not learnt, the present one last: named in the advice how to take
        harmful records out again.
    binding : bool
        False where the candidate must replace the champion whatever the comparison says, because the
        champion learnt from records that have been taken out.
    """
    checks = [*_baseline(candidate, rules), *_limits(candidate, rules), *_by_hand(rules)]
    if first:
        checks.append(GateCheck("first", True, _first(candidate)))
    else:
        compared = _comparison(candidate, champion, rules)
        checks += [_with_advice(check, sessions[:-1]) for check in compared] if binding else [_UNDONE]
        checks += _guarded(candidate, champion, rules) if binding else []
        checks += _harm(harm, sessions) if binding else []
    return PromotionVerdict(all(check.passed for check in checks), checks)


_UNDONE = GateCheck(
    "undo", True, "The serving model had learnt from the records that were taken out; this one has not."
)


def _first(candidate: Scores) -> str:
    if candidate.beats_baselines:
        return "This is the first version of this model, and it beats the simple rules it was compared with."
    return (
        "This is the first version of this model. It does not beat the simple rules beside it: do not rely "
        "on it alone. More records, or other options, may help."
    )


def _baseline(candidate: Scores, rules: PromotionRules) -> Iterator[GateCheck]:
    if not rules.requires_baseline:
        return
    best = ", ".join(f"{name} {value:.3g}" for name, value in sorted(candidate.baselines.items()))
    measured = _quantity(candidate.headline, rules.headline)
    if candidate.beats_baselines:
        yield GateCheck("baseline", True, f"It beats every simple rule ({measured}; {best}).")
    else:
        yield GateCheck("baseline", False, f"It does not beat the simple rules ({measured}; {best}).")


def _limits(candidate: Scores, rules: PromotionRules) -> Iterator[GateCheck]:
    for name, most in rules.limits.items():
        value, word = candidate.metrics[name], name.replace("_", " ")
        if value <= most:
            yield GateCheck("limit", True, f"Its {word} of {value:.3g} is within the {most:g} asked for.")
        else:
            yield GateCheck("limit", False, f"Its {word} of {value:.3g} is above the {most:g} asked for.")


def _by_hand(rules: PromotionRules) -> Iterator[GateCheck]:
    if rules.by_hand:
        detail = "It was asked not to be promoted by itself: POST …/versions/<number>/promote lets it answer."
        yield GateCheck("by_hand", False, detail)


def _guarded(candidate: Scores, champion: Scores | None, rules: PromotionRules) -> Iterator[GateCheck]:
    """Further metrics, with some room for chance: 2 per cent of one and 5 per cent of the champion's."""
    if champion is None:
        return
    for metric in rules.guardrail_metrics:
        new, old = candidate.metrics.get(metric.name), champion.metrics.get(metric.name)
        if new is None or old is None:
            continue
        word, worse = metric.name.replace("_", " "), -metric.gain(new, old)
        passed = worse <= GUARDED_ROOM + WORSE_SHARE * abs(old)
        verb = "is no worse" if passed else "is worse"
        yield GateCheck(metric.name, passed, f"Its {word} {verb}: {new:.3g}, the serving model's {old:.3g}.")


def _comparison(candidate: Scores, champion: Scores | None, rules: PromotionRules) -> list[GateCheck]:
    """Candidate against champion on the same samples: no worse, and better where the family asks for it."""
    if champion is None:
        kept = rules.requires_improvement
        so = "so it was not shown to be better." if kept else "so the newer data decides."
        return [
            GateCheck(
                "comparison", not kept, f"No held-out data is fair to both this and the serving model, {so}"
            )
        ]
    figures = (
        f"on the same {candidate.held_out} held-out samples this model has "
        f"{_quantity(candidate.headline, rules.headline)}, the serving one {champion.headline:.3g}"
    )
    if not math.isfinite(candidate.headline):
        return [GateCheck("comparison", False, "It could not be measured on the held-out samples.")]
    gain = rules.headline.gain(candidate.headline, champion.headline)
    increases = [new - old for new, old in _pairs(candidate.losses, champion.losses)]
    if -gain > WORSE_SHARE * abs(champion.headline) + 1e-12:
        return [GateCheck("comparison", False, f"It is more than {WORSE_SHARE:.0%} worse: {figures}.")]
    if -gain > LEAST_SHARE * abs(champion.headline) and significant(increases, WORSE_CONFIDENCE):
        return [GateCheck("comparison", False, f"It is worse, and not by chance: {figures}.")]
    if rules.requires_improvement and gain <= 0:
        return [GateCheck("comparison", False, f"It is not better: {figures}.")]
    word = "better" if gain > 0 else "as good, and it knows newer data"
    return [GateCheck("comparison", True, f"It is {word}: {figures}.")]


def _harm(harm: DataImpact | None, sessions: Sequence[int]) -> list[GateCheck]:
    """Whether the new data spoils answers that were good before: the mark of contradictory records."""
    increases = [new - old for new, old in _pairs(harm.losses_with, harm.losses_without)] if harm else []
    if harm is None or not increases:
        return []
    usual = fmean(harm.losses_without)
    if _is_strange(harm):
        return [GateCheck("harm", False, _strange(harm, usual) + _advice(sessions))]
    if not (fmean(increases) > HARM_SHARE * usual and significant(increases, HARM_CONFIDENCE)):
        return [GateCheck("harm", True, "The new records do not spoil earlier answers.")]
    named = "; ".join(harm.reasons)
    share = f"by {fmean(increases) / usual:.0%}" if usual else "from zero"
    detail = (
        f"The new records contradict what was known: errors on earlier held-out samples rise {share}"
        f"{f' ({named})' if named else ''}.{_advice(sessions)}"
    )
    return [GateCheck("harm", False, detail)]


def _is_strange(harm: DataImpact) -> bool:
    if harm.max_loss_on_new is None or len(harm.losses_on_new) < FEWEST_STRANGE:
        return False
    return fmean(harm.losses_on_new) > harm.max_loss_on_new


def _strange(harm: DataImpact, usual: float) -> str:
    named = "; ".join(harm.reasons)
    return (
        f"The new records are unlike everything known: their scores are {fmean(harm.losses_on_new):.2g} off "
        f"what earlier records suggest, {usual:.2g} is usual{f' ({named})' if named else ''}. If they are "
        "right, promote this version by hand."
    )


def _with_advice(check: GateCheck, earlier: Sequence[int]) -> GateCheck:
    """A lost comparison may be the doing of earlier records that no promoted model has learnt."""
    if check.passed or not earlier:
        return check
    told = " Records of earlier sessions that were not promoted train it, too."
    return replace(check, detail=f"{check.detail}{told}{_advice(earlier)}")


def _advice(sessions: Sequence[int]) -> str:
    calls = " or ".join(f"POST /train/undo/{session}" for session in sessions)
    return f" {calls} takes the records of that session out again." if calls else ""


def _pairs(new: Sequence[float], old: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(new, old, strict=True)) if len(new) == len(old) else []


def significant(increases: Sequence[float], confidence: float) -> bool:
    """One-sided paired t test: whether the mean of the differences is above zero."""
    count = len(increases)
    if count < 2:
        return False
    mean, spread = fmean(increases), stdev(increases)
    if spread == 0:
        return mean > 1e-12
    return mean / (spread / math.sqrt(count)) > student_quantile(confidence, count - 1)


def student_quantile(confidence: float, freedom: int) -> float:
    """Quantile of Student's t distribution by the expansion of Abramowitz and Stegun, 26.7.5.

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


def _quantity(value: float, metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.name.replace('_', ' ')} {value:.3g}{unit}"
