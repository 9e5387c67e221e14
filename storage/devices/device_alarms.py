"""The alarms of devices that have little time left, raised by the predictions about them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from storage.alarms import Alarm, begin_condition, end_condition
from storage.db.tables import utc_now
from storage.devices.prediction import Prediction, PredictionSource
from storage.times import from_microseconds, to_microseconds

EVENT: Final = "device.below_alarm_time"
# A prediction about an earlier moment says nothing of the device now.
_MAX_AGE: Final = timedelta(hours=24)
# A device whose predictions lie around the limit would raise an alarm with each of them.
_HYSTERESIS: Final = 1.1


def observe_devices(
    connection: sa.Connection, rows: Iterable[tuple[PredictionSource, Prediction]], alarm_hours: float
) -> None:
    """Raise the alarms of devices whose latest prediction has fallen below, or risen above, the alarm time."""
    oldest = to_microseconds(utc_now() - _MAX_AGE)
    latest = {
        (source.tenant, prediction.device_id): (source, prediction)
        for source, prediction in sorted(rows, key=lambda row: row[1].as_of)
        if prediction.as_of >= oldest
    }
    for (tenant, device), (source, prediction) in latest.items():
        subject = f"devices/{device}"
        if prediction.value < alarm_hours:
            begin_condition(connection, _describe(source, prediction, subject, alarm_hours))
        elif prediction.value > _HYSTERESIS * alarm_hours:
            end_condition(connection, tenant, EVENT, subject)


def _describe(source: PredictionSource, prediction: Prediction, subject: str, alarm_hours: float) -> Alarm:
    as_of = from_microseconds(prediction.as_of)
    return Alarm(
        source.tenant,
        EVENT,
        "High",
        source.family,
        subject,
        f"Device {prediction.device_id} has {prediction.value:.0f} hours left by {source.family}/{source.name}, "
        f"as of {as_of:%Y-%m-%d %H:%M} UTC; {alarm_hours:g} hours is its alarm time",
        data={
            "device_id": prediction.device_id,
            "rul_hours": prediction.value,
            "lower": prediction.lower,
            "upper": prediction.upper,
            "version": source.version,
        },
    )
