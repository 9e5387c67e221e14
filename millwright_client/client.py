"""One Millwright server, as an object."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from millwright_client.connection import Connection
from millwright_client.errors import Answer
from millwright_client.resources import (
    DEFAULT_MODEL,
    AnomaliesResource,
    BackupsResource,
    DatasetsResource,
    DevicesResource,
    ModelsResource,
    model_path,
    quote_segment,
)
from millwright_client.sensors import SensorsResource
from millwright_client.sessions import TrainingSession, start_session
from millwright_client.tables import Frame, PagedRows, Predictions, to_records

if TYPE_CHECKING:
    import pandas as pd


class Millwright:
    """A server.

    Parameters
    ----------
    url : str
        Its address; default: a server on this machine.
    api_key : str, optional
        Such as ``mw_…``. A server that listens on this machine only may need none.
    ca_file : str or Path, optional
        Certificates (PEM) of the authority that signed the server's, where it is the plant's own.
    show_progress : bool, optional
        Whether waiting for a training shows how far it is; None: on a terminal and in a notebook.

    Attributes
    ----------
    models, backups, sensors, anomalies, devices, datasets
        The calls for each kind of thing, such as ``client.models.list()``.

    Examples
    --------
    >>> client = Millwright("http://127.0.0.1:5000", api_key="mw_…")  # doctest: +SKIP
    >>> session = client.train(reports).wait()  # doctest: +SKIP
    >>> session.verdict.promoted, session.verdict.reasons  # doctest: +SKIP
    >>> client.predict(new_reports)  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:5000",
        api_key: str | None = None,
        *,
        ca_file: str | Path | None = None,
        show_progress: bool | None = None,
    ) -> None:
        self.connection = connection = Connection(url, api_key, ca_file)
        self.models = ModelsResource(connection)
        self.backups = BackupsResource(connection)
        self.sensors = SensorsResource(connection, show_progress)
        self.anomalies = AnomaliesResource(connection)
        self.devices = DevicesResource(connection)
        self.datasets = DatasetsResource(connection)
        self._show_progress = show_progress

    def __enter__(self) -> Self:
        """Return the client, whose connections are released at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the connections."""
        self.connection.close()

    # --- training ---

    def train(self, data: object = None, model: str = DEFAULT_MODEL, **options: object) -> TrainingSession:
        """Start a training and return its session at once; ``wait`` for its end.

        Parameters
        ----------
        data : DataFrame or iterable of dict, optional
            New records, of families that learn from records (scoring). The others learn from what is stored.
        model : str
            ``family/name``.
        **options
            Options of the family, such as ``seed=42`` or ``epochs=10``.

        Raises
        ------
        RefusedError
            A record or an option is invalid; nothing has changed.
        ConflictError
            The model is being trained already.
        """
        return start_session(
            self.connection, f"/train/{model_path(model)}", _training_body(data, options), self._show_progress
        )

    def preview_training(self, data: object = None, model: str = DEFAULT_MODEL, **options: object) -> Answer:
        """Return what ``train`` would do with the same arguments, without doing it."""
        return self.connection.post(
            f"/train/{model_path(model)}", _training_body(data, options), {"dry_run": True}
        )

    def session(self, session_id: int) -> TrainingSession:
        """Return a session by its number."""
        state = self.connection.get(f"/train/sessions/{session_id}")
        return TrainingSession(self.connection, state, self._show_progress)

    def sessions(self) -> PagedRows:
        """Return the sessions of all models, the newest first."""
        return PagedRows(self.connection, "/train/sessions", {})

    def status(self) -> Answer:
        """Return what trains now and what trained last."""
        return self.connection.get("/train/status")

    def health(self) -> Answer:
        """Return what serves, and ``problems`` in words."""
        return self.connection.get("/health")

    # --- readings and predictions ---

    def readings(self, sensor: int | str, **filters: object) -> PagedRows:
        """Return the readings of a sensor, by its number or tag, in order of time.

        Parameters
        ----------
        **filters
            As in ``GET /api/readings/``, such as ``since="2026-01-02T00:00:00Z"``.
        """
        return PagedRows(self.connection, "/api/readings/", {"sensor_id": sensor, **filters})

    @overload
    def predict(self, data: Frame, model: str = DEFAULT_MODEL, **query: object) -> pd.DataFrame: ...

    @overload
    def predict(self, data: object, model: str = DEFAULT_MODEL, **query: object) -> Predictions: ...

    def predict(
        self, data: object, model: str = DEFAULT_MODEL, **query: object
    ) -> pd.DataFrame | Predictions:
        """Return one prediction for each record, all of one version.

        Parameters
        ----------
        data : DataFrame or iterable of dict
            Records to predict for; one dictionary goes to the server as it is (``{"devices": […]}``).
        **query
            Query options of the family, such as ``similar_reports=0`` or ``coverage=0.8``.

        Returns
        -------
        DataFrame or Predictions
            A frame, with the index of the given one, for a frame; a list for anything else. ``frame.attrs`` has
            ``model``, ``version``, ``warnings``, ``ignored_fields`` and ``prediction_id``, as a list has them as
            attributes.

        Raises
        ------
        ConflictError
            There is no version that serves.
        """
        records = to_records(data)
        document: object = records[0] if isinstance(data, dict) else records
        answer = self.connection.post(f"/predict/{model_path(model)}", document, query)
        predictions = Predictions(answer)
        if not isinstance(data, Frame):
            return predictions
        frame = predictions.to_pandas()
        if len(data.index) == len(frame):
            frame.index = data.index
        frame.attrs = dict(vars(predictions))
        return frame

    def predictions(self) -> PagedRows:
        """Return the kept predictions, the newest first."""
        return PagedRows(self.connection, "/predictions", {})

    def explain(self, prediction_id: str) -> Answer:
        """Return what stood behind a kept prediction, and whether the version of then and today's agree."""
        return self.connection.get(f"/predictions/{quote_segment(prediction_id)}")


def _training_body(data: object, options: dict[str, object]) -> dict[str, object]:
    return {"options": options} if data is None else {"records": to_records(data), "options": options}
