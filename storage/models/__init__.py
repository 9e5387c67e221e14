"""The folder ``models/``.

``versions`` are immutable folders of artefacts, ``pointers`` name each model's champion, and ``champions`` is
an index of both in the database, for everything that asks about many models.
"""
