"""What gunicorn calls while it serves, named to it by ``--config python:api.operations.server_hooks``."""

from __future__ import annotations

import sys
from typing import Any


def when_ready(server: Any) -> None:
    """Tell the person at the terminal, once and in words, that the door is open."""
    address = server.address[0] if isinstance(server.address, list) else server.address
    host, port = address[:2]
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"Millwright answers on http://{shown}:{port} (its pages: /docs). Ctrl-C ends it.\n")
    sys.stderr.flush()
