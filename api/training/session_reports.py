"""The report of a training session, for people: as a PDF, or as one HTML file."""

from __future__ import annotations

from flask import Response, send_file

from api.http.context import identity, manager
from api.http.resource import Resource
from reports.render.html import CONTENT_SECURITY_POLICY

session_reports = Resource("reports", "What a training session did, written for people.")
_PDF = {"application/pdf": {"type": "string", "format": "binary"}}
_HTML = {"text/html": {"type": "string"}}


@session_reports.operation("/train/sessions/<number:session_id>/report.pdf", {200: _PDF}, errors=(409,))
def get_pdf_report(session_id: int) -> Response:
    """Return the report of a session that has ended, in whatever way, as PDF."""
    return _send_report(session_id, "pdf", "application/pdf")


@session_reports.operation("/train/sessions/<number:session_id>/report.html", {200: _HTML}, errors=(409,))
def get_html_report(session_id: int) -> Response:
    """Return the same report as one HTML file, which needs no network."""
    response = _send_report(session_id, "html", "text/html")
    # The page of the session shows the report within it.
    response.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'self'"
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def _send_report(session_id: int, extension: str, content_type: str) -> Response:
    path = manager().reports.file(session_id, identity().tenant, extension)
    name = f"training-report-{session_id}.{extension}"
    return send_file(path, mimetype=content_type, download_name=name, max_age=0)
