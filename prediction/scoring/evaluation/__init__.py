"""Measure scoring models: on held-out reports (``metrics``), against the champion (``champion``), and what
the new reports do to earlier answers (``data_impact``).
"""
