"""Devices by their names: whole ones, and beginnings that end in ``*``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

WILDCARD = "*"


def device_conditions(
    column: sa.ColumnElement[Any], names: Sequence[str] | None
) -> list[sa.ColumnElement[bool]]:
    """The conditions that a device is one of these; none where all are meant."""
    if names is None:
        return []
    whole = [name for name in names if not name.endswith(WILDCARD)]
    starts = [name.removesuffix(WILDCARD) for name in names if name.endswith(WILDCARD)]
    begins = [sa.func.substr(column, 1, len(start)) == start for start in starts]
    return [sa.or_(column.in_(whole), *begins)]


def matches_device(device_id: str, names: Sequence[str] | None) -> bool:
    """Whether a device is one of these."""
    return names is None or any(
        device_id.startswith(name.removesuffix(WILDCARD)) if name.endswith(WILDCARD) else device_id == name
        for name in names
    )
