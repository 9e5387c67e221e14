"""anomaly_reports."""
