"""The HTTP edge of Millwright.

``http`` and ``security`` are what every route stands on; ``training``, ``models``, ``sensors``, ``devices``
and ``datasets`` are the resources; ``operations`` is for whoever runs the server; ``pages`` is for people.
``routes`` lists the resources. Nothing below this package imports it.
"""
