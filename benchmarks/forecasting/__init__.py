"""Benchmarks of the forecasting family beside the literature, Darts and neuralforecast."""
