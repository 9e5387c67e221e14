"""One multivariate model for each asset: which rows of its telemetry are unusual, and because of which channels.

Read ``family`` for a training, ``model/detector`` for how a row gets its score, ``predictor`` for an answer.
"""
