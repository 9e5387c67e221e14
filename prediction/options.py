"""Training options: marshmallow schemas, and one function that turns their errors into sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, pre_load, validate

from errors import InvalidContent

# What the exporter of torch writes for all networks: attention needs 14. Each network was compared with its export at
# every version between.
MIN_ONNX_OPSET, MAX_ONNX_OPSET = 14, 20


class TrackedOptions(Schema):
    """Options of every training, whatever the family: its names in MLflow."""

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
    def replace_aliases(self, data: dict[str, object], **_: object) -> dict[str, object]:
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
    """Options of a training that counts epochs: all of them export their network to ONNX."""

    onnx_opset = fields.Integer(
        validate=validate.Range(MIN_ONNX_OPSET, MAX_ONNX_OPSET),
        metadata={
            "description": "Version of ONNX' operators in the exported network; else the newest that is possible. "
            "Older runtimes read older versions only."
        },
    )

    aliases: ClassVar[Mapping[str, str]] = {"num_epochs": "epochs"}


def load_options(schema: type[Schema], raw: object) -> dict[str, Any]:
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
