"""From a stored table to scaled windows and their split in time."""
