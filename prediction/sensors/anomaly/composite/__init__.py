"""The composite detector: usual value by hour and weekday, autoregression, level, noise and repeated values.

Each part watches for one kind of fault and has a share of the false-alarm budget. ``season`` learns the usual
values, ``parts`` computes the statistics, ``training`` sets their thresholds and ``detector`` serves them.
"""

from prediction.sensors.anomaly.composite.detector import ALGORITHM, FILE_NAME, CompositeDetector
from prediction.sensors.anomaly.composite.training import train_composite

__all__ = ["ALGORITHM", "FILE_NAME", "CompositeDetector", "train_composite"]
