"""Evidence for retraining: errors in production, drift of the inputs, new failures."""
