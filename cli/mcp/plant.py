"""Tools that read sensors and devices. They change nothing, so no confirmation is asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cli.mcp.reading import Limit, take_first
from millwright_client import Answer, Millwright

Moment = Annotated[str | None, Field(description="RFC 3339, UTC.", examples=["2026-11-20T08:00:00Z"])]
SensorKey = Annotated[
    int | str, Field(description="Number, tag or exact name of a sensor.", examples=[13, "TI-1023.PV"])
]


class PlantTools:
    """What can be asked about sensors and devices."""

    def __init__(self, client: Millwright) -> None:
        self._client = client

    def get_asset_health(
        self,
        device_id: Annotated[str, Field(description="Name of a device.", examples=["PUMP-21"])],
        model: Annotated[str, Field(description="Name of the rul model.", examples=["pumps"])] = "default",
    ) -> Answer:
        """Return the hours that a device has left, with an interval, its status, and the failures stored last."""
        failures = take_first(self._client.devices.failures(device_id=device_id, newest_first=True), 5)
        return {
            "health": self._client.devices.health(device_id, model=model),
            "failures": failures["results"],
        }

    def list_sensors(
        self,
        status: Annotated[
            str | None, Field(description="online, warning, critical or offline.", examples=["critical"])
        ] = None,
        name: Annotated[str | None, Field(description="A part of the name.", examples=["Pump"])] = None,
        limit: Limit = 100,
    ) -> Answer:
        """List sensors in order of their numbers, with their newest value, drift and status."""
        return take_first(self._client.sensors.list(status=status, name=name), limit)

    def get_readings(
        self,
        sensor: SensorKey,
        since: Moment = None,
        until: Moment = None,
        limit: Annotated[int, Field(description="Rows at most.", ge=1, le=5_000)] = 500,
    ) -> Answer:
        """Return readings of a sensor, the newest first; `more` says that the limit has cut off earlier ones."""
        found = self._client.sensors.get(sensor)
        return {"sensor": found.json, **take_first(found.readings(since, until, newest_first=True), limit)}

    def list_anomalies(
        self,
        sensor_id: Annotated[
            int | str | None, Field(description="Only of the sensor with this number or tag.", examples=[13])
        ] = None,
        resolved: Annotated[bool | None, Field(description="False: open ones only.")] = None,
        since: Moment = None,
        limit: Limit = 100,
    ) -> Answer:
        """List anomalies of sensors, those stored last first: type, severity, value and what was expected."""
        filters = {"sensor_id": sensor_id, "resolved": resolved, "since": since}
        return take_first(self._client.anomalies.list(**filters, newest_first=True), limit)
