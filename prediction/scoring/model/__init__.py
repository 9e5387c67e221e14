"""The scoring model: twelve logistic regressions over text and history features.

``hyperparameters`` holds every figure that shapes it, ``fitting`` fits it (``logistic`` is the solver,
``weights_cache`` stores fits), ``ordinal`` turns margins into levels and ``conformal`` into sets of levels.
"""
