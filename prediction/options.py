"""Training options: a marshmallow schema says what is allowed, one function says what is wrong."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError

from errors import InvalidContent


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
