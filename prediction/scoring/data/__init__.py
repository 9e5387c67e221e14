"""Stored reports as training data: in time order, with features, split into training and held-out rows.

``training_set`` orders and encodes the reports (``row_cache`` stores what is costly), ``default_scores``
finds scores that nobody thought about, ``preparation`` splits the rows by time.
"""
