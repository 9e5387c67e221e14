"""Everything that Millwright stores, and how it stays intact.

``container.open_storage`` opens all of it. ``journal`` is the one commit point; ``journal_steps`` are what it
can do. ``filesystem`` has atomic writes, locks and checksummed documents, ``models`` the versions with their
champions, ``backups`` the snapshots, ``db`` the database with sessions, keys and runs. ``anomaly_reports``,
``sensors``, ``devices`` and ``datasets`` hold the data of the model families; ``text`` reads what people and
spreadsheets write. ``fault_injection`` names the points at which tests may strike.
"""
