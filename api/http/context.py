"""What the code behind a route may ask for: the training manager, and who is asking."""

from __future__ import annotations

from flask import Flask, current_app, g

from storage.db.api_keys import Identity
from training_manager import TrainingManager

MANAGER = "millwright"


def install_manager(app: Flask, manager: TrainingManager) -> None:
    """Give every route of the application its training manager."""
    app.extensions[MANAGER] = manager


def manager() -> TrainingManager:
    """The training manager of the application that answers this request."""
    found: TrainingManager = current_app.extensions[MANAGER]
    return found


def set_identity(caller: Identity) -> None:
    """Note who sends this request."""
    g.identity = caller


def identity() -> Identity:
    """Who sends this request."""
    found: Identity = g.identity
    return found
