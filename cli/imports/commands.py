"""``millwright import``: import readings, calibrations, telemetry and failures."""

from __future__ import annotations

from cli.console import CommandGroup
from cli.imports.calibrations import import_calibrations
from cli.imports.lookout import import_lookout
from cli.imports.mqtt import import_mqtt
from cli.imports.readings import import_readings
from cli.imports.telemetry import import_failures, import_telemetry

app = CommandGroup("Import readings, calibrations, telemetry and failures.")
app.command("readings")(import_readings)
app.command("telemetry")(import_telemetry)
app.command("failures")(import_failures)
app.command("calibrations")(import_calibrations)
app.command("lookout")(import_lookout)
app.command("mqtt")(import_mqtt)
