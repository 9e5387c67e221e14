"""Training reports: plain data of a session in, a document for people out.

``facts`` gathers, ``narrative`` (or a ``language_model`` that ``claims`` checks) writes, ``compose`` lays
out, ``charts`` draws, ``html`` and ``pdf`` render. Nothing here trains, and nothing here changes anything.
"""
