"""Names of models that do not exist: told as such, with those that may be meant."""

from __future__ import annotations

from difflib import get_close_matches

from api.http.context import manager
from prediction.contract import ModelKey

MAX_NAMES = 5


def list_model_names(key: ModelKey) -> list[str]:
    """The names of models that there are of this family and tenant, at most a thousand."""
    return manager().storage.versions.sibling_names(key.path)


def describe_unknown_model(key: ModelKey) -> str:
    """That there is no such model, as a sentence; nothing where it has been trained or tried before."""
    storage = manager().storage
    if storage.versions.numbers(key.path) or storage.sessions.last(key.tenant, key.family, key.name):
        return ""
    said, names = f"There is no model {key}", list_model_names(key)
    if close := get_close_matches(key.name, names, 3, 0.7):
        return f"{said}: did you mean {' or '.join(close)}?"
    if names:
        return f"{said}; of {key.family} there {enumerate_names(names)}"
    return f"{said}, and none of {key.family} yet: train it with POST /train/{key}"


def enumerate_names(names: list[str]) -> str:
    """A few names and how many more, with their verb."""
    few, more = names[:MAX_NAMES], len(names) - MAX_NAMES
    told = f"{', '.join(few)} and {more} more" if more > 0 else " and ".join(few)
    return f"{'is' if len(names) == 1 else 'are'} {told}"
