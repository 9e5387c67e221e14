"""Damage detection from vibration: a network classifies spectrograms of recordings and knows its limits.

``spectrograms/`` turns recordings into images, ``data/`` splits them, ``model/`` trains, ``evaluation/`` measures,
``serving/`` predicts and writes downloads.
"""
