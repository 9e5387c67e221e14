"""Forecasts of a series: networks and closed-form solutions, baselines, and conformal intervals.

``data/`` prepares windows, ``model/`` trains, compares and backtests, ``serving/`` predicts and writes downloads.
"""
