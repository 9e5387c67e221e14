"""What the impact of new data means for a promotion, and how the refusal reads."""

from __future__ import annotations

import math

import pytest

from prediction.contract import DataImpact, MissedSevere, SequentialEvidence
from training.impact_checks import describe_harm


def impact(*, missed: tuple[MissedSevere, ...] = (), repeated: float = 0.0) -> DataImpact:
    evidence = SequentialEvidence(0.0, "at random", 9, is_harmful=False, repeated_log_e_value=repeated)
    return DataImpact([0.0], [0.0], sequential=evidence, missed=missed)


@pytest.mark.parametrize(
    ("records", "found_with", "held"), [(20, 12, True), (20, 13, False), (200, 8, False), (200, 7, True)]
)
def test_severe_records_that_are_found_must_stay_found(records: int, found_with: int, held: bool) -> None:
    """Five of few records, or a twentieth of many."""
    harm = describe_harm(impact(missed=(MissedSevere("availability from 5 on", records, 17, found_with),)))
    assert (harm is not None) == held
    assert harm is None or f"{found_with} are found, 17 without" in harm


def test_what_goes_on_like_a_quarantined_batch_is_held_and_told_how_to_accept_it() -> None:
    assert describe_harm(impact(repeated=math.log(49))) is None
    harm = describe_harm(impact(repeated=math.log(51)))
    assert harm is not None and "GET /train/quarantine" in harm
