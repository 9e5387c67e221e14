"""Devices over HTTP: their telemetry, their failures, and how long they have left."""
