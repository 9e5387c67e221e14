"""Hooks that gunicorn calls, named to it by ``--config python:api.operations.server_hooks``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any


def when_ready(server: Any) -> None:
    """Print the server's URL once gunicorn accepts connections."""
    address = server.address[0] if isinstance(server.address, list) else server.address
    host, port = address[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    with suppress(OSError):  # the disk of a log file may be full
        sys.stderr.write(f"Millwright answers on {url} (its pages: /docs). Ctrl-C ends it.\n")
        sys.stderr.flush()
