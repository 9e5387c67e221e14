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

    @pre_load
    def refuse_fractions(self, data: Any, **_: Any) -> Any:
        """Of something counted, half a one is a mistake, not one less."""
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
    """Options of a training that counts epochs, some of which are known by other words, too."""

    aliases: ClassVar[Mapping[str, str]] = {"num_epochs": "epochs"}

    @pre_load
    def resolve_aliases(self, data: Any, **_: Any) -> Any:
        """Put the option's own name in place of another word; both at once are one too many."""
        for other, word in self.aliases.items():
            if other in data and word in data:
                raise ValidationError(f"{other} is another word for {word}: send one of them", other)
        return {self.aliases.get(name, name): value for name, value in data.items()}


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
