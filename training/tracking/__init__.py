"""Tracking with MLflow: sessions and production metrics are reported without any training waiting for it.

`outbox` writes notes into files, `uploader` is the process that carries them over, `mlflow_store` writes them
into MLflow.
"""
