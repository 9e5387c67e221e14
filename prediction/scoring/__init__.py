"""Three 1-5 scores of an anomaly report, from its text and the history of its equipment.

- ``requests``: what clients send, checked and mapped to records.
- ``data``: stored reports in time order, split into training and held-out rows.
- ``features``: hashed text and point-in-time history, the same code for training and serving.
- ``model``: hyper-parameters, the fit, levels and conformal sets.
- ``evaluation``: metrics, the comparison with the champion, the impact of new reports.
- ``embedding``: the sentence model that finds similar reports.
- ``serving``: a version's artefacts, its predictor and its downloads.

``family`` implements the training half of the contract with them.
"""
