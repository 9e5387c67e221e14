"""Benchmarks of the scoring family on a plant's reports and on public data."""
