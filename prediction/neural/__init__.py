"""What families that train PyTorch networks share.

``training`` is the epoch loop, ``callbacks`` react to epochs, ``checkpoint`` lets a training go on after a cut,
``export`` writes the files that every network has, and `NeuralFamily` in ``family`` ties them together. Everything
here imports torch, so a web worker imports ``prediction.onnx`` instead.
"""
