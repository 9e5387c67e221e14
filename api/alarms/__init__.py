"""Alarms: the routes that they take, what was raised, and what became of it."""
