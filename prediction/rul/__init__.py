"""Remaining useful life: networks that learn from telemetry and failures how long a device will last.

``records`` and ``request_parser`` check what clients send, ``data`` reads and splits a fleet, ``preprocessing``
turns rows into network inputs, ``networks`` and ``training`` fit, ``evaluation`` scores, ``monitoring`` compares
past predictions with later failures, ``features`` stores window features for other tools.
"""
