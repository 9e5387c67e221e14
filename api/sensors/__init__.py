"""Sensors over HTTP: what they are, what they said, what their models say of it."""
