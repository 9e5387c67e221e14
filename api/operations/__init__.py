"""For whoever runs the server: health, metrics, logs, model monitoring, and what a worker does in the background."""
