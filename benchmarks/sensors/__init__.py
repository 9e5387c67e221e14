"""Benchmarks of the sensors family: NAB, TEP, calibration, speed and volume."""
