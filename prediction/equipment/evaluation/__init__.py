"""How good a detector is: on faults inserted into held-out normal time, and on labelled events."""
