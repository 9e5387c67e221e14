"""Commands that train: ``millwright train``, ``millwright schedule`` and ``millwright export``."""
