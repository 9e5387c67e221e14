"""Benchmarks of the damage family beside other methods and libraries."""
