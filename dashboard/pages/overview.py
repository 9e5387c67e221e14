"""The overview: is everything well, and what to do first."""

from __future__ import annotations

from flask import render_template

from api.http.context import identity, manager
from dashboard.device_health import rank_devices, select_device_model
from dashboard.resource import HTML, Pages
from dashboard.versions import summarize_version
from prediction.contract import ModelKey
from storage.sensors.tables import anomalies

MAX_MODELS, MAX_SESSIONS, MAX_BACKUPS, MAX_EPISODES, MAX_DEVICES = 12, 6, 4, 6, 6
# Each is one prediction from stored telemetry, and the page comes again every five seconds.
MAX_RANKED_DEVICES = 20

overview = Pages("overview", "Is everything well?")


@overview.operation("/", HTML)
def get_overview() -> str:
    """Show what serves, what trained last, the backups, and what needs attention."""
    tenant, services = identity().tenant, manager()
    keys = services.models.keys(tenant, limit=MAX_MODELS + 1)
    numbers, damaged = services.models.champion_numbers(keys[:MAX_MODELS])
    backups = sorted(services.backups.list(tenant), key=lambda backup: backup.sequence, reverse=True)
    stores, is_open = manager().sensors, [anomalies.c.resolved.is_(False)]
    episodes, _ = stores.anomalies.page(tenant, is_open, MAX_EPISODES, newest_first=True)
    devices = services.devices.telemetry.devices(tenant)
    device_model = select_device_model(None)
    # Devices that ended their runs long ago have nothing left to predict.
    newest = services.devices.telemetry.devices_after(tenant, 0, MAX_RANKED_DEVICES)
    ranked = rank_devices(device_model, newest, {})
    judged = [row for row in ranked if row.prediction]
    return render_template(
        "overview.html",
        devices=judged[:MAX_DEVICES],
        device_count=len(devices),
        ranked_count=len(ranked),
        unjudged_count=len(ranked) - len(judged),
        device_model=device_model,
        # Where there is no model, every device has the same reason: it is told once.
        device_reason=ranked[0].reason if len({row.reason for row in ranked}) == 1 else "",
        episodes=episodes,
        sensors=stores.sensors.get_many(tenant, {episode["sensor_id"] for episode in episodes}),
        sensor_count=stores.sensors.count(tenant),
        open_count=stores.anomalies.count(tenant, is_open),
        silent_count=stores.sensors.count(tenant, [stores.sensors.has_status("offline")]),
        models=[_describe_model(key, number) for key, number in numbers.items()],
        damaged=damaged,
        has_more_models=len(keys) > MAX_MODELS,
        # Problems name files of the default tenant's plant.
        problems=services.data_health.problems() if tenant == "default" else [],
        quarantined=sum(len(model.batches) for model in services.data_health.all_waiting(tenant)),
        sessions=services.sessions.list_summaries(tenant, limit=MAX_SESSIONS),
        backups=backups[:MAX_BACKUPS],
        backup_count=len(backups),
    )


def _describe_model(key: ModelKey, number: int | None) -> dict[str, object]:
    """Return a model with the version that serves, and its last training."""
    champion = summarize_version(key, number) if number is not None else None
    return {"key": key, "champion": champion, "last": manager().sessions.last(key)}
