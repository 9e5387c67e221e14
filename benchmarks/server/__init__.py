"""Benchmarks of the server beside the guide's own implementation."""
