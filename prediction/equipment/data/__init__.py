"""From stored telemetry to the normal running time that a model learns, and the events that it is judged by."""
