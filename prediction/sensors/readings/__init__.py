"""A sensor's readings: arrays and their time features, quality checks, and parsing of what clients send."""

from prediction.sensors.readings.series import Array, SensorSeries

__all__ = ["Array", "SensorSeries"]
