"""Options of a training of an asset's model, with defaults, ranges and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from prediction.contract import Options
from prediction.equipment.off_time import MAX_RULE_LENGTH, parse_off_rule
from prediction.options import TrackedOptions
from prediction.records.fields import FieldError, parse_instant

AUTO: Final = "auto"
ALGORITHMS: Final = ("pca", "ridge", "autoregression")
LABEL_KINDS: Final = ("failure", "maintenance")
_MAX_PERIODS: Final = 1_000
_MAX_CHANNELS: Final = 300


class PeriodOptions(Schema):
    """A period; both ends are included."""

    start = fields.String(required=True, metadata={"description": "RFC 3339."})
    end = fields.String(required=True, metadata={"description": "RFC 3339."})

    @validates_schema
    def check_order(self, data: Mapping[str, str], **_: object) -> None:
        """Check that both are times, and the start is not after the end."""
        if _parse_time("start", data["start"]) > _parse_time("end", data["end"]):
            raise ValidationError("must not be after end", "start")


class LabelOptions(PeriodOptions):
    """A labelled period: a failure with its symptoms, or maintenance."""

    kind = fields.String(load_default="failure", validate=validate.OneOf(LABEL_KINDS))


class EquipmentOptions(TrackedOptions):
    """Options of a training."""

    aliases: ClassVar[Mapping[str, str]] = {"off_condition": "off_when", "label_periods": "labels"}

    device_id = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={"description": "Whose telemetry; null: the device with the name of the model."},
    )
    channels = fields.List(
        fields.String(validate=validate.Length(1, 100)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(2, _MAX_CHANNELS),
        metadata={"description": "Channels to watch; null: all that change."},
    )
    setting_channels = fields.List(
        fields.String(validate=validate.Length(1, 100)),
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Channels that say how the asset is run; null: those with setting in the name."
        },
    )
    start_date = fields.String(load_default=None, allow_none=True, metadata={"description": "RFC 3339."})
    end_date = fields.String(load_default=None, allow_none=True, metadata={"description": "RFC 3339."})
    lookback_days = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0.01, 36_500),
        metadata={"description": "Learn from the last so many days of telemetry only."},
    )
    normal_periods = fields.List(
        fields.Nested(PeriodOptions),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, _MAX_PERIODS),
        metadata={"description": "When the asset ran normally; null: whenever nothing else is known."},
    )
    labels = fields.List(
        fields.Nested(LabelOptions),
        load_default=list,
        validate=validate.Length(max=_MAX_PERIODS),
        metadata={"description": "Failures with their symptoms, and maintenance: never learnt as normal."},
    )
    off_when = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, MAX_RULE_LENGTH),
        metadata={"description": "Rows without a judgement, such as speed < 5."},
    )
    failure_window_hours = fields.Float(
        load_default=24.0,
        validate=validate.Range(0, 10_000),
        metadata={"description": "Hours before a stored failure that count as its symptoms."},
    )
    algorithm = fields.String(load_default=AUTO, validate=validate.OneOf((AUTO, *ALGORITHMS)))
    false_alarms_per_week = fields.Float(
        load_default=1.0,
        validate=validate.Range(1e-6, 1e6),
        metadata={"description": "Episodes in a week of normal running time."},
    )
    retrain_days = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 3_650),
        metadata={"description": "Train again after so many days; null: as the server is set up."},
    )
    seed = fields.Integer(load_default=42, validate=validate.Range(0, 2**31 - 1))
    promote = fields.String(load_default="managed", validate=validate.OneOf(("managed", "manual")))

    @validates_schema
    def check_dates_and_rule(self, data: Options, **_: object) -> None:
        """Check that dates are times in order, and that the off-time rule can be read."""
        start, end = (
            None if data[name] is None else _parse_time(name, data[name])
            for name in ("start_date", "end_date")
        )
        if start is not None and end is not None and start > end:
            raise ValidationError("must not be after end_date", "start_date")
        try:
            parse_off_rule(data["off_when"])
        except ValueError as error:
            raise ValidationError(str(error), "off_when") from error
        both = sorted(set(data["channels"] or ()) & set(data["setting_channels"] or ()))
        if both:
            raise ValidationError(f"names {', '.join(both[:5])}, which are setting_channels", "channels")


def parse_periods(periods: Sequence[Mapping[str, str]] | None) -> list[tuple[datetime, datetime]]:
    """Return the start and end of each period of checked options."""
    return [(parse_instant("start", p["start"]), parse_instant("end", p["end"])) for p in periods or ()]


def _parse_time(name: str, raw: str) -> datetime:
    try:
        return parse_instant(name, raw)
    except FieldError as error:
        raise ValidationError(error.message, name) from error
