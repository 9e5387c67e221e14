"""Models over HTTP: what exists, which version serves, its files, and predictions.

No module here names a family except the schemas of anomaly reports: families declare their query options and
parse their own inputs (``prediction.registry``).
"""
