"""Backups of data files and champions.

``store`` makes, lists, verifies and deletes them; ``snapshot`` fills a new one, ``backup`` reads one,
``restore`` plans the way back, ``retention`` decides which to keep.
"""
