"""Window and hourly features of telemetry, stored as Parquet files for other tools."""
