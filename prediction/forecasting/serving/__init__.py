"""Predictions (``predictor``, ``postprocess``), and the files and charts of a version."""
