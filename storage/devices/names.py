"""Devices by their names: whole ones, and beginnings that end in ``*``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

ANY = "*"


def named(column: sa.ColumnElement[Any], names: Sequence[str] | None) -> list[sa.ColumnElement[bool]]:
    """The conditions that a device is one of these; none where all are meant."""
    if names is None:
        return []
    whole = [name for name in names if not name.endswith(ANY)]
    starts = [name.removesuffix(ANY) for name in names if name.endswith(ANY)]
    begins = [sa.func.substr(column, 1, len(start)) == start for start in starts]
    return [sa.or_(column.in_(whole), *begins)]


def is_named(device_id: str, names: Sequence[str] | None) -> bool:
    """Whether a device is one of these."""
    return names is None or any(
        device_id.startswith(name.removesuffix(ANY)) if name.endswith(ANY) else device_id == name
        for name in names
    )
