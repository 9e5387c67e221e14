"""``millwright import``: import readings and telemetry."""

from __future__ import annotations

from cli.console import CommandGroup
from cli.imports.lookout import import_lookout
from cli.imports.mqtt import import_mqtt
from cli.imports.readings import import_readings
from cli.imports.telemetry import import_telemetry

app = CommandGroup("Import readings and telemetry.")
app.command("readings")(import_readings)
app.command("telemetry")(import_telemetry)
app.command("lookout")(import_lookout)
app.command("mqtt")(import_mqtt)
