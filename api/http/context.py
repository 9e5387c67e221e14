"""The training manager of this application and the caller of this request."""

from __future__ import annotations

from typing import cast

from flask import Flask, current_app, g

from prediction.contract import ModelKey
from prediction.serving import LoadedModel
from storage.db.api_keys import Identity
from training_manager import TrainingManager

MANAGER = "millwright"


def install_manager(app: Flask, manager: TrainingManager) -> None:
    """Give every route of the application its training manager."""
    app.extensions[MANAGER] = manager


def manager() -> TrainingManager:
    """Return the training manager of the application that handles this request."""
    return cast(TrainingManager, current_app.extensions[MANAGER])


def load_champion(key: ModelKey) -> LoadedModel:
    """Return the champion of a model."""
    return manager().model_cache.current(key)


def set_identity(caller: Identity) -> None:
    """Record who sends this request."""
    g.identity = caller


def identity() -> Identity:
    """Return who sends this request."""
    return cast(Identity, g.identity)
