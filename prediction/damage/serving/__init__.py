"""Predictions (``predictor``, ``postprocess``), and the files of a version, also for Keras."""
