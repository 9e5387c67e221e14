"""Evaluation of scoring models.

``metrics`` measures on held-out reports, ``champion`` compares with the serving model, ``data_impact`` finds
what new reports do to earlier answers.
"""
