"""The Python client of a Millwright server. It needs requests; pandas and rich where they are installed.

::

    from millwright_client import Millwright

    client = Millwright("http://127.0.0.1:5000", api_key="mw_…")
    session = client.train(reports).wait()
    print(session.verdict.promoted, session.verdict.reasons)
    scores = client.predict(new_reports)

docs/python.md shows the rest. This package imports nothing of the server.
"""

from millwright_client.client import Millwright
from millwright_client.connection import Connection
from millwright_client.errors import (
    Answer,
    ApiError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    ServerUnreachableError,
    TrainingFailedError,
)
from millwright_client.sensors import Sensor
from millwright_client.sessions import Event, TrainingSession, Verdict, start_session
from millwright_client.tables import PagedRows, Predictions, Rows

__all__ = [
    "Answer",
    "ApiError",
    "ConflictError",
    "Connection",
    "Event",
    "Millwright",
    "NotAllowedError",
    "NotFoundError",
    "NotReadyError",
    "PagedRows",
    "Predictions",
    "RefusedError",
    "Rows",
    "Sensor",
    "ServerUnreachableError",
    "TrainingFailedError",
    "TrainingSession",
    "Verdict",
    "start_session",
]
