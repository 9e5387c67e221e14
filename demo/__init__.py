"""Data of an invented plant, the same at every run.

``anomaly_reports`` (with ``plant``), ``sensors`` and ``devices`` fill an empty installation; ``series`` and
``recordings`` write files to upload as datasets.
"""
