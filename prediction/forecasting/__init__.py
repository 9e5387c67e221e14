"""Forecasts of a plant's own time series: networks, baselines beside them, and intervals around them."""
