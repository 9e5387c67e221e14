"""Telemetry of devices, as the families read it that learn from it.

``records`` checks rows and failure events that clients send, ``rows`` brings rows into order, and ``conditions`` finds
the operating conditions and takes their influence out of the channels.
"""

from prediction.telemetry.conditions import OperatingConditions
from prediction.telemetry.rows import forward_fill, join_duplicates, telemetry_from_rows

__all__ = ["OperatingConditions", "forward_fill", "join_duplicates", "telemetry_from_rows"]
