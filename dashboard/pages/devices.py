"""Devices: which of them has least time left, and what its channels show."""

from __future__ import annotations

from typing import Final

import numpy as np
from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from marshmallow import Schema, fields, validate

from api.devices.health import HealthQuery
from api.http.context import identity, load_champion, manager
from api.http.resource import Query
from api.models.suggestions import list_model_names
from dashboard.device_health import predict_health, rank_devices, select_device_model
from dashboard.figures import Figure, LifeNames, build_channel_figure, build_life_figure
from dashboard.resource import FIGURE, FORM, HTML, REDIRECT, FormQuery, Pages, render_charts, see_other
from dashboard.training_form import MODEL_FIELD, build_fields, faults_by_field, read_options, start_training
from errors import MillwrightError, NotFound
from prediction import registry
from prediction.contract import JSON, ModelKey
from storage.devices.telemetry import DeviceTelemetry
from storage.sensors.readings import from_microseconds

devices = Pages("device pages", "Devices, for people.")

# Each device that is ranked is one prediction from its stored telemetry.
MAX_DEVICES = 100
MAX_ROWS = 2_000
# Of the chart of the hours left: each moment is a prediction from so many rows before it, at most.
MAX_MOMENTS, MIN_RUN_ROWS, MAX_RUN_ROWS = 24, 10, 500
MAX_PREDICTIONS = 500
# The tenant is that of the key.
_HIDDEN_OPTIONS: Final = ("tenant_id",)
_FIRST_OPTIONS: Final = frozenset({"model_type", "prediction_horizon_hours", "sequence_length", "epochs"})


class DevicePageQuery(FormQuery, HealthQuery):
    """Which model is asked (by default, the only one, or the one called default), and what an hour costs."""

    model = fields.String(validate=validate.Length(1, 100))


class OneDeviceQuery(DevicePageQuery):
    """Which device is shown. Its name may hold any sign, slashes too, so it is no part of a path."""

    id = fields.String(required=True, validate=validate.Length(1, 200))


class ChannelQuery(Schema):
    """Which channel of which device is drawn."""

    id = fields.String(required=True, validate=validate.Length(1, 200))
    channel = fields.String(required=True, validate=validate.Length(1, 200))


@devices.operation("/devices", HTML, query=DevicePageQuery)
def list_devices(query: Query) -> str:
    """List devices, the one with least time left first."""
    return _render_list(query)


@devices.operation("/devices/train", REDIRECT, method="POST", role="train", body=FORM, errors=(409, 422))
def train_on_devices() -> ResponseReturnValue:
    """Train a model on the stored telemetry, and lead to the session."""
    family = registry.find_device_family()
    try:
        outcome = start_training(family, read_options(family, ignored=_HIDDEN_OPTIONS))
    except MillwrightError as error:
        return make_response(_render_list({}, error), error.status)
    assert outcome.session is not None
    return see_other(f"/trainings/{outcome.session.id}")


def _render_list(query: Query, error: MillwrightError | None = None) -> str:
    """Render the devices and the form that trains; after an error, with everything that was written."""
    names = manager().devices.telemetry.devices(identity().tenant)
    key = select_device_model(query.get("model"))
    rows = rank_devices(key, names[:MAX_DEVICES], query)
    written = {name: values[-1] for name, values in request.form.lists()}
    options = build_fields(key.family, hidden=_HIDDEN_OPTIONS, values=written)
    return render_template(
        "devices/list.html",
        rows=rows,
        query=query,
        name=written.get(MODEL_FIELD) or key.name,
        first_options=[option for option in options if option.name in _FIRST_OPTIONS],
        more_options=[option for option in options if option.name not in _FIRST_OPTIONS],
        faults=faults_by_field(error) if error else {},
        error=error,
        # Where there is no model, every device has the same reason: it is told once.
        common_reason=rows[0].reason if len({row.reason for row in rows}) == 1 else "",
        # Most speak of the model, and are the same for each device.
        warnings=list(dict.fromkeys(warning for row in rows for warning in row.warnings)),
        count=len(names),
        key=key,
        models=list_model_names(key),
    )


@devices.operation("/device", HTML, query=OneDeviceQuery, errors=(404,))
def get_device(query: Query) -> ResponseReturnValue:
    """Show one device: the time it has left, and its channels."""
    device_id = query["id"]
    telemetry = _read_telemetry(device_id)
    run_ends = manager().devices.failures.run_ends(identity().tenant, [device_id]).get(device_id, [])
    key = select_device_model(query.get("model"))
    return render_charts(
        "devices/device.html",
        key=key,
        query=query,
        health=predict_health(key, device_id, query),
        channels=telemetry.channels,
        run_ends=[(from_microseconds(time), has_failed) for time, has_failed in run_ends[:-11:-1]],
    )


@devices.operation("/device/life", FIGURE, query=OneDeviceQuery, errors=(404, 409))
def get_life_figure(query: Query) -> Figure:
    """Return the chart of the hours left: over the current run, and as they were predicted before failures."""
    key, device_id = select_device_model(query.get("model")), query["id"]
    past = manager().devices.predictions.of_device(
        key.tenant, key.family, key.name, device_id, MAX_PREDICTIONS
    )
    ends = manager().devices.failures.run_ends(key.tenant, [device_id]).get(device_id, [])
    return build_life_figure(gettext("Hours left"), _life_names(), _follow_run(key, device_id), past, ends)


@devices.operation("/device/figure", FIGURE, query=ChannelQuery, errors=(404,))
def get_channel_figure(query: Query) -> Figure:
    """Return the chart of one channel of a device."""
    device_id, channel = query["id"], query["channel"]
    telemetry = _read_telemetry(device_id)
    if channel not in telemetry.channels:
        raise NotFound(f"Device {device_id} has no channel {channel}: {', '.join(telemetry.channels)}")
    values = telemetry.values[:, telemetry.channels.index(channel)]
    return build_channel_figure(channel, telemetry.times, values)


def _read_telemetry(device_id: str) -> DeviceTelemetry:
    telemetry = manager().devices.telemetry.latest(identity().tenant, device_id, MAX_ROWS)
    if not len(telemetry):
        raise NotFound(f"Device {device_id} has sent no telemetry")
    return telemetry


def _life_names() -> LifeNames:
    return {
        "now": gettext("as the model sees the run now"),
        "past": gettext("predicted then"),
        "truth": gettext("what came"),
    }


def _follow_run(key: ModelKey, device_id: str) -> list[JSON]:
    """Return what the champion says of the current run at a few moments of it, each from the rows until then."""
    source = manager().data_source(key.family)
    try:
        champion = load_champion(key)
        asked = registry.parse_inputs(key.family, {"device_id": device_id})
        batch = source.resolve_inputs(key, asked, champion.manifest.get("facts") or {})
    except MillwrightError:  # the page says why beside the chart
        return []
    (record,) = batch.records
    count = len(record["times"])
    ends = np.unique(np.linspace(min(MIN_RUN_ROWS, count), count, MAX_MOMENTS).astype(int))
    moments = [
        {**record, **{name: record[name][max(0, end - MAX_RUN_ROWS) : end] for name in ("rows", "times")}}
        for end in ends.tolist()
    ]
    return champion.predictor.predict(moments, {})
