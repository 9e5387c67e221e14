"""Sensors and what they said: readings in bulk, calibrations, anomalies."""
