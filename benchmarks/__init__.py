"""What is measured, how, and against whom. Every module prints a table and writes figures to ``results/``.

``python -m benchmarks --data FOLDER`` runs them all; ``docs/BENCHMARKS.md`` tells what they found.
"""
