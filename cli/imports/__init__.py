"""``millwright import``: files and messages with readings and telemetry into the database."""
