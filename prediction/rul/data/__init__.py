"""A fleet's telemetry and failures: collected, validated, labelled, split by device and cut into windows."""
