"""Renderers of a document: one HTML file, or a PDF with vector charts."""
