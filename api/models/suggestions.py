"""Error messages about models that do not exist, with the names that may be meant."""

from __future__ import annotations

from difflib import get_close_matches

from api.http.context import manager
from prediction.contract import ModelKey

MAX_NAMES = 5


def list_model_names(key: ModelKey) -> list[str]:
    """Return the names of the models of this family and tenant, at most a thousand."""
    return manager().models.sibling_names(key)


def describe_unknown_model(key: ModelKey) -> str:
    """Return that there is no such model, as a sentence; nothing where it was trained or tried before."""
    if manager().models.exists(key) or manager().sessions.last(key):
        return ""
    message, names = f"There is no model {key}", list_model_names(key)
    # 0.7: "pump" still suggests "pumps", while names of another kind of machine do not come up.
    if close := get_close_matches(key.name, names, 3, 0.7):
        return f"{message}: did you mean {' or '.join(close)}?"
    if names:
        return f"{message}; of {key.family} there {enumerate_names(names)}"
    return f"{message}, and none of {key.family} yet: train it with POST /train/{key}"


def enumerate_names(names: list[str]) -> str:
    """Return a few names and how many more there are, with their verb."""
    shown, more = names[:MAX_NAMES], len(names) - MAX_NAMES
    text = f"{', '.join(shown)} and {more} more" if more > 0 else " and ".join(shown)
    return f"{'is' if len(names) == 1 else 'are'} {text}"
