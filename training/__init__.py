"""How a model changes.

`session` tells a training from top to bottom; `context` defines what it works with, `gate` decides which model
serves, `worker_pool` and `execution` do the work, `results` writes what is reported. `runner` gives each
session a thread. `services` are what routes and commands read, `monitoring` trains models again by itself, and
`tracking` reports to MLflow.
"""
