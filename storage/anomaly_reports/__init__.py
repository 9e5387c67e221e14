"""The anomaly reports of a plant: three CSV files that belong to the plant, and the ids beside them.

:class:`~storage.anomaly_reports.csv_store.CsvStore` is the entry point. ``csv_table`` parses a file,
``csv_dialect`` formats appends in the file's own dialect, ``reports`` joins the files to columns, and
``csv_fingerprints`` notices edits by hand.
"""
