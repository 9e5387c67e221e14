"""The sensors family: three models per sensor, which find anomalies, forecast drift and correct values.

``readings`` holds a sensor's readings as arrays and checks what clients send. ``anomaly``, ``drift`` and
``calibration`` each train, evaluate and serve one kind of model. ``serving`` answers requests with these models or
with a fallback rule. ``family`` trains; ``monitoring`` decides what to train again.
"""
