"""Answers of the scoring model, with NumPy alone: ``artefacts`` are what a version stores, ``predictor``
answers from them, ``similar_reports`` finds the evidence, ``downloads`` writes scikit-learn files for people.
"""
