"""Devices over HTTP: their telemetry, their failures, how long they have left."""
