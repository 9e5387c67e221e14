"""Answers about sensors: the predictor of a version, and the service that also falls back to simple rules."""
