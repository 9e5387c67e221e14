"""Features of anomaly reports, computed the same way for training and serving, with NumPy alone.

``encoding`` turns a report into hashes (``text_hashing``), ``history_features`` adds what was known before
it: shares by group, votes of similar reports (``neighbours``) and evidence of words, all from
``point_in_time`` sums, so that no score of a report or of its future reaches its features.
"""
