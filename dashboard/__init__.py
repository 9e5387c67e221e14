"""Pages for people: rendered by the server from the services that the API uses, in French and English.

`install` prepares the application. Every page is a module of `dashboard.pages` with its own `Pages` resource.
"""

from dashboard.application import install

__all__ = ["install"]
