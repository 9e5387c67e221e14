"""Sensors over HTTP: the tables (``crud`` describes one as a resource), ingestion, detection and their models."""
