"""The address of a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from errors import InvalidContent

JSON = dict[str, Any]
"""A JSON object at the HTTP or file edge."""

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
