"""Training of neural networks in PyTorch, shared by the families that use one.

``training`` holds the epoch loop, ``callbacks`` what reacts to its epochs, ``checkpoint`` lets an interrupted
run resume, ``family`` is the base class of neural families. Import the modules themselves: this package must
not import torch, because web workers import `prediction.onnx` without it.
"""
