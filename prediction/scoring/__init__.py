"""Three 1-5 scores of an anomaly report, from its text and the history of its equipment.

``intake`` and ``records`` say what a client may send. ``text`` and ``encoding`` turn a report into hashed
numbers; ``past``, ``neighbours`` and ``history`` add what was known before it; both sides use them, with
NumPy alone. ``chronicle``, ``rote`` and ``prepare`` order, sift and split the stored reports, ``model`` and
``logistic`` learn, ``quality`` and ``judging`` measure, ``served`` is what a version keeps, ``predictor``
answers, ``evidence`` shows similar reports by the sentence embeddings of ``embedding``. ``family`` ties it
all to the contract.
"""
