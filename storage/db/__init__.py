"""The database: SQLite by default, PostgreSQL by URL.

``database`` opens transactions, ``tables`` and ``migrations`` define the tables, ``crud``, ``bulk_insert`` and
``watermark`` serve the tables of sensors and devices. ``sessions``, ``scheduler_runs``, ``api_keys``,
``idempotency`` and ``workers`` are the server's own tables.
"""
