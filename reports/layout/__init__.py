"""The layout of a report: blocks as plain data (``document``), and the sections that yield them."""

from reports.layout.compose import compose
from reports.layout.document import Document

__all__ = ["Document", "compose"]
