"""The address of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from errors import InvalidContent

# A JSON object at the HTTP or file edge.
JSON = dict[str, Any]
# Options of a training or a prediction as the family's schema has checked and completed them.
Options = Mapping[str, Any]
# A record or a prediction input as the family's `RequestParser` has checked and normalised it.
Record = Mapping[str, Any]
# What a family's `DataSource` tells the child process to read: names of files and of stored data.
TrainingSource = Mapping[str, Any]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


@dataclass(frozen=True, order=True)
class ModelKey:
    """The address of one model. Each part is a safe file name by construction."""

    family: str
    name: str = "default"
    tenant: str = "default"

    def __post_init__(self) -> None:
        for part in (self.family, self.name, self.tenant):
            if not _NAME.fullmatch(part):
                raise InvalidContent(
                    f"{part!r} cannot be a model or tenant name: "
                    "use up to 100 letters, digits, '_', '-' and '.'"
                )

    @property
    def path(self) -> str:
        """The model's folder below ``models/``."""
        return f"{self.tenant}/{self.family}/{self.name}"

    @classmethod
    def from_path(cls, path: str) -> ModelKey:
        """Return the key of the model with this folder below ``models/``."""
        tenant, family, name = path.split("/")
        return cls(family, name, tenant)

    def __str__(self) -> str:
        return f"{self.family}/{self.name}"
