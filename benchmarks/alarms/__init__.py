"""Benchmarks of alarms."""
