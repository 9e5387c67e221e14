"""A process that owns sessions, to be killed; forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

from prediction import registry
from settings import Settings
from storage import fault_injection
from tests import toy_family
from tests.training.conftest import KEY, make_manager
from training_manager import open_executor

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def start_owner(settings: Settings, fault_point: str, order: dict[str, Any]) -> BaseProcess:
    """Start a process that carries out an order.

    Parameters
    ----------
    settings : Settings
        Its executor says whether the owner has child processes.
    order : dict
        ``{"do": "train", "records": […]}``, ``{"do": "undo", "session": 2}`` or
        ``{"do": "restore", "backup": "backup_…"}``.
    """
    owner = FORKS.Process(target=_main, args=(replace(settings, fault_point=fault_point), order))
    owner.start()
    return owner


def _main(settings: Settings, order: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    registry.FAMILIES = {"toy": toy_family.ENTRY}
    fault_injection.install(settings.fault_point)
    manager = make_manager(settings, open_executor(settings))
    if order["do"] == "train":
        manager.train(KEY, order["records"])
    elif order["do"] == "undo":
        manager.undo(order["session"], "default")
    else:
        manager.backups.restore(order["backup"], "default")
