"""Metrics, the baselines that a network must beat, and the charts of both."""
