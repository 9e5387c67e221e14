"""What the three kinds of model learn, and how each is judged: one recipe a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prediction.contract import JSON, Scores
from prediction.sensors import anomaly, calibration, drift
from prediction.sensors.prepare import Material


@dataclass(frozen=True)
class Trained:
    """A trained model; ``judged`` learnt from the past only, ``served`` from everything.

    Both are a ``Detector``, a ``DriftModel`` or a ``CalibrationModel``; ``served`` is None until the refit.
    """

    kind: str
    judged: Any
    served: Any = None


def learnt(material: Material, rows: Any, options: JSON) -> Any:
    """A model of this kind from these rows, to be judged on later ones."""
    if material.kind == "anomaly":
        return anomaly.train(rows, options, anomaly.JUDGED_HELD_OUT)
    return _fitted(material, rows, options)


def moved_on(material: Material, model: Any, options: JSON) -> Any:
    """The judged model, or its recipe, on all rows."""
    if material.kind == "anomaly":
        return anomaly.moved_on(model, material.rows, options)
    return _fitted(material, material.rows, options)


def _fitted(material: Material, rows: Any, options: JSON) -> Any:
    if material.kind == "drift":
        assert material.base is not None
        return drift.train(rows, material.base, options["coverage"])
    return calibration.train(rows, options)


def judged(material: Material, model: Any) -> Scores:
    """The model's scores on the held-out rows."""
    if material.kind == "anomaly":
        return anomaly.judge(model, material.past, material.held_out)
    if material.kind == "drift":
        return drift.judge(model, material.rows, material.first)
    return calibration.judge(model, material.held_out)
