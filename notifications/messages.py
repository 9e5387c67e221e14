"""What is sent: alarms as JSON for programs, and as text for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.db.crud import Row
from storage.times import format_instant

_SHOWN = ("id", "event", "severity", "family", "subject", "tag", "incident", "message", "data")
_MAX_TEXTS = 20


@dataclass(frozen=True)
class Message:
    """One or several alarms that are sent together. ``id`` is the same whenever the same are sent again."""

    id: str
    alarms: Sequence[Mapping[str, object]]

    def to_json(self) -> bytes:
        """Return the body for a program."""
        document = {"id": self.id, "count": len(self.alarms), "alarms": self.alarms}
        return json.dumps(document, ensure_ascii=False).encode()

    def title(self) -> str:
        """Return one line for a person."""
        first = self.alarms[0]
        more = f" and {len(self.alarms) - 1} more" if len(self.alarms) > 1 else ""
        return f"[{first['severity']}] {first['event']}: {first.get('tag') or first['subject']}{more}"

    def text(self) -> str:
        """Return the alarms as lines; of many, the first and how many more there are."""
        lines = [
            f"{alarm['created_at']} [{alarm['severity']}] {alarm['message']}"
            for alarm in self.alarms[:_MAX_TEXTS]
        ]
        left = len(self.alarms) - len(lines)
        return "\n".join(lines + ([f"… and {left} more: GET /api/alarms lists them"] if left else []))


def build_message(route_id: int, alarms: Sequence[Row]) -> Message:
    """Return the message of one or several rows of the table ``alarms``."""
    shown = [
        {**{name: row[name] for name in _SHOWN}, "created_at": format_instant(row["created_at"])}
        for row in alarms
    ]
    # With their times: a second server, or a restored database, counts from 1 again.
    ids = ",".join(f"{alarm['id']}@{alarm['created_at']}" for alarm in shown)
    return Message(hashlib.sha256(f"{route_id}:{ids}".encode()).hexdigest()[:32], shown)
