"""Decide from the impact of new data whether a candidate may be promoted."""

from __future__ import annotations

import math

from prediction.contract import DataImpact

# Where nothing is wrong, the evidence reaches this once in 1,000 trainings at most.
MAX_E_VALUE = 1_000

# While records wait in quarantine, others like them are held back from here on: by chance once in 50 trainings
# at most.
MAX_REPEATED_E_VALUE = 50

# From this share and this number on, severe held-out records that are missed with the new records and were
# found without them count as harm. Five that are lost while none is gained happen by chance once in 32 times;
# with three instead, 3 of 120 genuine weeks of a plant were held back for four lost reports.
MAX_RECALL_LOSS, MIN_MISSED = 0.05, 5

# Standard errors by which the loss of a part of the model may rise on held-out records: .0002 by chance, for
# each of the few parts. In 119 genuine weeks of a plant's reports the highest was 2.5.
MAX_DETERIORATION = 3.5


def describe_harm(impact: DataImpact) -> str | None:
    """Return why the new records must not be learnt, as a sentence; None where they may."""
    evidence = impact.sequential
    if evidence is not None and evidence.is_harmful and evidence.log_e_value >= math.log(MAX_E_VALUE):
        return (
            f"The {evidence.rows} records since the comparison version follow another rule: "
            f"{evidence.hypothesis} (evidence {_format(evidence.log_e_value)} to 1), and learning them makes "
            f"earlier answers worse or severe ones rarer.{_name_culprit(impact)}"
        )
    if evidence is not None and evidence.repeated_log_e_value >= math.log(MAX_REPEATED_E_VALUE):
        return (
            "The new records go on as those in quarantine did (evidence "
            f"{_format(evidence.repeated_log_e_value)} to 1). If both are right, accept both: "
            "GET /train/quarantine lists them."
        )
    for missed in impact.missed:
        lost = missed.found_without - missed.found_with
        if lost >= max(MIN_MISSED, MAX_RECALL_LOSS * missed.records):
            return (
                f"Learning the new records hides severe ones: of {missed.records} held-out records with "
                f"{missed.name}, {missed.found_with} are found, {missed.found_without} without the new records."
                f"{_name_culprit(impact)}"
            )
    worst = max(impact.deterioration, key=impact.deterioration.__getitem__, default=None)
    if worst is not None and impact.deterioration[worst] >= MAX_DETERIORATION:
        return (
            f"Learning the new records makes earlier answers for {worst.replace('_', ' ')} worse, by "
            f"{impact.deterioration[worst]:.1f} standard errors.{_name_culprit(impact)}"
        )
    return None


def _format(log_e_value: float) -> str:
    return f"{math.exp(log_e_value):,.0f}" if log_e_value < math.log(1e6) else "over 1,000,000"


def _name_culprit(impact: DataImpact) -> str:
    if not impact.influence or impact.influence[0].loss_change <= 0:
        return ""
    worst = impact.influence[0]
    if worst.session_id is None:
        rater = f", most of them scored by {worst.rater!r}," if worst.rater else ""
        return f" The records of this session{rater} do most of it."
    rater = f", most of them scored by {worst.rater!r}" if worst.rater else ""
    return (
        f" Most of it comes from the {worst.rows} records of session {worst.session_id}{rater}: "
        f"POST /train/undo/{worst.session_id} takes them out."
    )
