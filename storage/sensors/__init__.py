"""Sensors and what they measure: readings in bulk, calibrations, anomalies.

``tables`` defines the tables. ``sensors``, ``readings``, ``calibrations`` and ``anomalies`` hold one table each;
``reading_block`` writes many readings at once, ``charts`` reads them thinned, and ``data_counts`` tells which
sensors have enough data to train.
"""
