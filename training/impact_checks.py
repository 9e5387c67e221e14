"""Decide from the impact of new data whether a candidate may be promoted."""

from __future__ import annotations

import math

from prediction.contract import DataImpact

MAX_E_VALUE = 1_000
"""Where nothing is wrong, the evidence reaches this once in 1,000 trainings at most."""

MAX_DETERIORATION = 3.5
"""Standard errors by which the loss of a part of the model may rise on held-out records: .0002 by chance, for
each of the few parts. In 119 genuine weeks of a plant's reports the highest was 2.5."""


def describe_harm(impact: DataImpact) -> str | None:
    """Return why the new records must not be learnt, as a sentence; None where they may."""
    evidence = impact.sequential
    if evidence is not None and evidence.is_harmful and evidence.log_e_value >= math.log(MAX_E_VALUE):
        return (
            f"The {evidence.rows} records since the comparison version follow another rule: "
            f"{evidence.hypothesis} (evidence {_format(evidence.log_e_value)} to 1), and learning them makes "
            f"earlier answers worse.{_name_culprit(impact)}"
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
        return " The records of this session do most of it."
    return (
        f" Most of it comes from the {worst.rows} records of session {worst.session_id}: "
        f"POST /train/undo/{worst.session_id} takes them out."
    )
