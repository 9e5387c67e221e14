"""Benchmarks of the rul family on C-MAPSS and beside tsfresh."""
