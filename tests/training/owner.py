"""A process that owns sessions, to be killed: ``python -m tests.training.owner HOME FAULT_POINT ORDER``.

The order is JSON: ``{"do": "train", "records": […], "options": {…}}``, ``{"do": "undo", "session": 2}`` or
``{"do": "restore", "backup": "backup_…"}``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from prediction import registry
from settings import Settings
from storage import fault_injection
from tests import toy_family
from tests.training.conftest import KEY, make_manager
from training.execution.child_process import ChildProcessExecutor


def main(home: str, fault_point: str, order: dict[str, Any]) -> None:
    """Do what is ordered in a server of that home."""
    registry.FAMILIES = {"toy": toy_family.ENTRY}
    settings = replace(Settings(home=Path(home), shutdown_grace_seconds=1), fault_point=fault_point)
    fault_injection.install(fault_point)
    manager = make_manager(settings, ChildProcessExecutor(settings))
    if order["do"] == "train":
        manager.train(KEY, order["records"], order.get("options"))
    elif order["do"] == "undo":
        manager.undo(order["session"], "default")
    else:
        manager.backups.restore(order["backup"], "default")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
