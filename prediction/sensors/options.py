"""Options of a sensor training: the values a training uses, and the schema of what clients may send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

from marshmallow import ValidationError, fields, pre_load, validate, validates_schema

from prediction.options import TrackedOptions

FOREST = "isolation_forest"
_FOREST_OPTIONS = ("mode", "contamination", "trees")


@dataclass(frozen=True)
class SensorTrainingOptions:
    """Options of a training; each kind of model reads its own.

    Parameters
    ----------
    algorithm : str
        ``composite``, ``isolation_forest`` or ``knn_cad``.
    mode : str
        ``cyclic``, or ``classic`` for the model of the old platform.
    trees, seed : int
        Of the isolation forest.
    contamination : float or None
        Share of readings to flag; None derives the threshold from ``false_alarms_per_week``.
    false_alarms_per_week : float
    range_margin : float
        Margin beyond the range of a stationary sensor, in ranges seen.
    coverage : float
        Share of drift forecasts that their interval should cover.
    reliability : float
        Probability of being within ``tolerance`` on the due date of a calibration.
    tolerance : float or None
        In the sensor's unit; None is 2 % of the largest corrected value.
    """

    algorithm: str = "composite"
    mode: str = "cyclic"
    trees: int = 100
    seed: int = 42
    contamination: float | None = None
    false_alarms_per_week: float = 1.0
    range_margin: float = 0.1
    coverage: float = 0.9
    reliability: float = 0.95
    tolerance: float | None = None

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> SensorTrainingOptions:
        """Return checked options; those that name an experiment are left out."""
        names = {field.name for field in dataclass_fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in names})


_DEFAULTS = SensorTrainingOptions()


class SensorsOptions(TrackedOptions):
    """Options of a sensor training."""

    algorithm = fields.String(
        load_default=_DEFAULTS.algorithm,
        validate=validate.OneOf(("composite", FOREST, "knn_cad")),
    )
    mode = fields.String(load_default=_DEFAULTS.mode, validate=validate.OneOf(("cyclic", "classic")))
    trees = fields.Integer(load_default=_DEFAULTS.trees, validate=validate.Range(1, 1_000))
    seed = fields.Integer(load_default=_DEFAULTS.seed, validate=validate.Range(0, 2**31 - 1))
    contamination = fields.Float(
        load_default=None, allow_none=True, validate=validate.Range(0, 0.5, min_inclusive=False)
    )
    false_alarms_per_week = fields.Float(
        load_default=_DEFAULTS.false_alarms_per_week, validate=validate.Range(1e-6, 1e6)
    )
    range_margin = fields.Float(load_default=_DEFAULTS.range_margin, validate=validate.Range(0, 10))
    coverage = fields.Float(load_default=_DEFAULTS.coverage, validate=validate.Range(0.5, 0.99))
    reliability = fields.Float(load_default=_DEFAULTS.reliability, validate=validate.Range(0.5, 0.999))
    tolerance = fields.Float(
        load_default=None, allow_none=True, validate=validate.Range(0, 1e15, min_inclusive=False)
    )

    @pre_load
    def replace_aliases(self, data: dict[str, object], **_: object) -> dict[str, object]:
        """Choose the forest where only its options are given, as clients of the old platform send them."""
        options = super().replace_aliases(data)
        names_forest = any(options.get(name) is not None for name in _FOREST_OPTIONS)
        return {"algorithm": FOREST, **options} if names_forest else options

    @validates_schema
    def _refuse_options_of_another_algorithm(self, data: dict[str, object], **_: object) -> None:
        if data["algorithm"] == FOREST:
            return
        given = {"mode": data["mode"] == "classic", "contamination": data["contamination"] is not None}
        reason = "belongs to the algorithm isolation_forest: leave it out, or choose that algorithm"
        if errors := {name: [reason] for name, is_given in given.items() if is_given}:
            raise ValidationError(errors)
