"""Training options: marshmallow schemas, and one function that turns their errors into sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, pre_load, validate

from errors import InvalidContent


class TrackedOptions(Schema):
    """Options of every training, whatever the family: its names in MLflow."""

    experiment_name = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "Experiment in MLflow; else the family."}
    )
    run_name = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "Of the run in MLflow; else the session."}
    )

    @pre_load
    def refuse_fractions(self, data: Any, **_: Any) -> Any:
        """Refuse fractions of integers, which marshmallow would round down."""
        wrong = [
            name
            for name, value in data.items()
            if isinstance(self.fields.get(name), fields.Integer) and isinstance(value, float)
            if not value.is_integer()
        ]
        if wrong:
            raise ValidationError({name: ["Not a whole number."] for name in wrong})
        return data


class EpochOptions(TrackedOptions):
    """Options of a training in epochs; ``aliases`` are other names of options."""

    aliases: ClassVar[Mapping[str, str]] = {"num_epochs": "epochs"}

    @pre_load
    def resolve_aliases(self, data: Any, **_: Any) -> Any:
        """Replace an alias by the option's name; both in one request are an error."""
        for alias, name in self.aliases.items():
            if alias in data and name in data:
                raise ValidationError(f"{alias} is another word for {name}: send one of them", alias)
        return {self.aliases.get(name, name): value for name, value in data.items()}


def load_options(schema: type[Schema], raw: Any) -> dict[str, Any]:
    """Return options with their defaults filled in.

    Raises
    ------
    InvalidContent
        Options are unknown or have values that cannot be used; every one is named.
    """
    if not isinstance(raw, dict):
        raise InvalidContent("Training options must be an object", code_hint="options")
    try:
        options: dict[str, Any] = schema().load(raw)
    except ValidationError as error:
        sentences = [
            f"{name}: {' '.join(map(str, messages)) if isinstance(messages, list) else messages}"
            for name, messages in sorted(error.messages_dict.items())
        ]
        raise InvalidContent(
            f"Training options cannot be used: {'; '.join(sentences)}",
            options=sorted(schema().fields),
            validation_errors=sentences,
        ) from error
    return options
