"""Devices that wear out: their telemetry in bulk, and when they failed."""
