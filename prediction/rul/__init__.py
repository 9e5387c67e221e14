"""Remaining useful life: from telemetry and failures to a network that says how long a device will last."""
