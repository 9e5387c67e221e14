"""Training options: a marshmallow schema says what is allowed, one function says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, pre_load, validate

from errors import InvalidContent


class TrackedOptions(Schema):
    """Options that every training has, whatever the family: under which names MLflow is told of it."""

    experiment_name = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "Experiment in MLflow; else the family."}
    )
    run_name = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "Of the run in MLflow; else the session."}
    )

    aliases: ClassVar[Mapping[str, str]] = {}
    """Other names that are accepted → names of options."""

    # One hook: marshmallow calls several in the order of their names.
    @pre_load
    def replace_aliases(self, data: Any, **_: Any) -> Any:
        """Replace aliases, and refuse fractions of what is counted: half an epoch is a mistake."""
        for alias, name in self.aliases.items():
            if alias in data and name in data:
                raise ValidationError(f"{alias} is another word for {name}: send one of them", alias)
        options = {self.aliases.get(name, name): value for name, value in data.items()}
        fractions = [
            name
            for name, value in options.items()
            if isinstance(self.fields.get(name), fields.Integer) and isinstance(value, float)
            if not value.is_integer()
        ]
        if fractions:
            raise ValidationError({name: ["Not a whole number."] for name in fractions})
        return options


class EpochOptions(TrackedOptions):
    """Options of a training that counts epochs."""

    aliases: ClassVar[Mapping[str, str]] = {"num_epochs": "epochs"}


def load_options(schema: type[Schema], raw: Any) -> dict[str, Any]:
    """Options with their defaults filled in.

    Raises
    ------
    InvalidContent
        An option is unknown or has a value that cannot be used; every one is named.
    """
    if not isinstance(raw, dict):
        raise InvalidContent("Training options must be an object", code_hint="options")
    try:
        loaded: dict[str, Any] = schema().load(raw)
    except ValidationError as error:
        faults: dict[str, Any] = dict(error.messages_dict)
        sentences = [f"{name}: {_sentence(said)}" for name, said in sorted(faults.items())]
        allowed = sorted(schema().fields)
        raise InvalidContent(
            f"Training options cannot be used: {'; '.join(sentences)}",
            options=allowed,
            validation_errors=sentences,
        ) from error
    return loaded


def _sentence(said: Any) -> str:
    return " ".join(str(part) for part in said) if isinstance(said, list) else str(said)
