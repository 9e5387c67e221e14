"""Continuous training: measure how models do, decide which are trained again, and start their sessions.

`prediction_log` records what champions predicted, `monitor` checks the models, `retraining_policy` decides,
and `scheduler` runs the monitor once per interval in one of the server's processes.
"""
