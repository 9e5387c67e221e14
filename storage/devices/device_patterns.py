"""Lists of devices: whole names, and prefixes that end in ``*``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from storage.db.tables import AnyColumn

WILDCARD: Final = "*"


def device_conditions(column: AnyColumn, patterns: Sequence[str] | None) -> list[sa.ColumnElement[bool]]:
    """Return the SQL conditions that a device matches one of the patterns; none where all are meant."""
    if patterns is None:
        return []
    names = [pattern for pattern in patterns if not pattern.endswith(WILDCARD)]
    prefixes = [pattern.removesuffix(WILDCARD) for pattern in patterns if pattern.endswith(WILDCARD)]
    # substr rather than LIKE: a name may hold % and _, and LIKE ignores case in SQLite.
    matches = [sa.func.substr(column, 1, len(prefix)) == prefix for prefix in prefixes]
    return [sa.or_(column.in_(names), *matches)]


def matches_device(device_id: str, patterns: Sequence[str] | None) -> bool:
    """Return whether a device matches one of the patterns."""
    return patterns is None or any(
        device_id.startswith(pattern.removesuffix(WILDCARD))
        if pattern.endswith(WILDCARD)
        else device_id == pattern
        for pattern in patterns
    )
