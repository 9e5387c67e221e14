"""Sentence embeddings for the search of similar reports.

``sentence_model`` computes them with ONNX Runtime, in training and serving alike. ``export`` writes its ONNX
file from a sentence-transformers model, in a process of its own, and ``quantization`` makes that twice as
fast.
"""
