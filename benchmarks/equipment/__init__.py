"""Benchmarks of the models of assets."""
