"""The detectors: parts that judge rows, the limit that the budget of false alarms sets, and their training."""
