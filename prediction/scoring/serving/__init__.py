"""Answers of the scoring model, with NumPy alone.

``artefacts`` are what a version stores, ``predictor`` answers from them, ``similar_reports`` finds similar past
reports, ``downloads`` writes scikit-learn files for people.
"""
