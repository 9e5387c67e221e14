"""Datasets that people upload: tables and recordings, stored as plain arrays with a report of their faults.

`DatasetStore` receives, repairs and returns them. ``tables/`` reads CSV and Parquet, ``recordings/`` CSV and sound
files; ``archive`` opens zips safely, ``csv_files`` is the one CSV reader, ``findings`` the form of the report and
``facts`` that of ``dataset.json``.
"""

from storage.datasets.facts import INPUT_KINDS, RECORDINGS, TABLE, DatasetFacts
from storage.datasets.findings import DatasetFinding
from storage.datasets.hints import UploadHints
from storage.datasets.store import Dataset, DatasetStore, PreviewPage
from storage.datasets.tables.repair import FIXES

__all__ = [
    "FIXES",
    "INPUT_KINDS",
    "RECORDINGS",
    "TABLE",
    "Dataset",
    "DatasetFacts",
    "DatasetFinding",
    "DatasetStore",
    "PreviewPage",
    "UploadHints",
]
