"""How long a device has left, or why that cannot be told, as pages show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext

from api.http.context import identity
from api.http.resource import Query
from api.models.predict import predict_batch
from api.models.suggestions import describe_unknown_model, list_model_names
from errors import MillwrightError, NoChampion
from prediction import registry
from prediction.contract import ModelKey


@dataclass(frozen=True)
class DeviceHealth:
    """The remaining life of a device, or the reason why none can be told."""

    device_id: str
    prediction: Mapping[str, Any] | None = None
    as_of: datetime | None = None
    reason: str = ""
    warnings: Sequence[str] = ()

    @property
    def sort_key(self) -> tuple[bool, float, str]:
        """Least time left first; devices without a prediction last."""
        if self.prediction is None:
            return (True, 0.0, self.device_id)
        return (False, self.prediction["rul_hours"], self.device_id)


def select_device_model(name: str | None) -> ModelKey:
    """Return the model that is asked: the named one, ``default``, or the only one there is."""
    default = ModelKey(registry.find_device_family(), tenant=identity().tenant)
    if name is not None:
        return ModelKey(default.family, name, default.tenant)
    names = list_model_names(default)
    return ModelKey(default.family, names[0], default.tenant) if len(names) == 1 else default


def rank_devices(key: ModelKey, device_ids: Sequence[str], query: Query) -> list[DeviceHealth]:
    """Ask a model about devices; return the one with least time left first, and those without an answer last."""
    return sorted((predict_health(key, name, query) for name in device_ids), key=lambda row: row.sort_key)


def predict_health(key: ModelKey, device_id: str, query: Query) -> DeviceHealth:
    """Ask a model about one device; a device that it cannot judge says why."""
    costs = {name: query[f"{name}_cost"] for name in ("late", "early") if f"{name}_cost" in query}
    batch = registry.parse_inputs(
        key.family, {"device_id": device_id, "costs": costs or None, "coverage": query.get("coverage")}
    )
    try:
        result = predict_batch(key, batch, {}, is_recorded=False)
    except NoChampion as error:
        # The sentence of the API names a request to send; people have a form.
        if describe_unknown_model(key) and not list_model_names(key):
            first_step = gettext(
                "There is no model of remaining life yet: train one on the page of the devices."
            )
            return DeviceHealth(device_id, reason=first_step)
        return DeviceHealth(device_id, reason=error.message)
    except MillwrightError as error:
        return DeviceHealth(device_id, reason=" ".join([error.message, *error.facts.get("reasons", [])]))
    (prediction,) = result.predictions
    as_of = datetime.fromisoformat(str(prediction["as_of"]))
    return DeviceHealth(device_id, prediction, as_of, warnings=result.batch.warnings)
