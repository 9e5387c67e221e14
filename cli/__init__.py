"""The ``millwright`` command: `main` assembles it, one module or sub-package per group of commands.

Commands use a running server where there is one (``client``), or the training manager in this process.
``console`` holds what they share: exit codes, output as text or JSON, and error handling.
"""
