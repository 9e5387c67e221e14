"""Metrics, prediction intervals and charts on held-out devices."""
