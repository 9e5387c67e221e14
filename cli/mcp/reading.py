"""Tools that read models, trainings and backups. They change nothing, so no confirmation is asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from errors import NotFound
from millwright_client import Answer, Millwright, PagedRows

Model = Annotated[
    str, Field(description="family/name of a model, as list_models shows it.", examples=["scoring/default"])
]
Records = Annotated[
    list[dict[str, object]],
    Field(
        description="One object per record, with the fields of the family.",
        examples=[[{"description": "Fuite d'huile au presse-étoupe", "equipment_name": "Pompe A"}]],
    ),
]
Options = Annotated[
    dict[str, object] | None,
    Field(description="Options of the family; unknown ones are refused.", examples=[{"seed": 42}]),
]
Limit = Annotated[int, Field(description="Rows at most.", ge=1, le=1_000)]
SessionId = Annotated[int, Field(description="Number of a training session.", examples=[7], ge=1)]
BackupName = Annotated[
    str, Field(description="Name of a backup, as list_backups shows it.", examples=["backup_20261120_200250"])
]


class ReadingTools:
    """What can be asked about models, trainings and backups."""

    def __init__(self, client: Millwright) -> None:
        self._client = client

    def get_status(self) -> Answer:
        """Return what serves, what is wrong, what trains now and what trained last. Start here."""
        return {"health": self._client.health(), "training": self._client.status()}

    def list_models(
        self,
        family: Annotated[str | None, Field(description="Only this family.", examples=["rul"])] = None,
        limit: Limit = 50,
    ) -> Answer:
        """List models with the version that serves (champion) and its metrics on held-out data."""
        return take_first(self._client.models.list(family), limit)

    def compare_versions(
        self,
        first: Annotated[int, Field(description="A version number.", examples=[1], ge=1)],
        second: Annotated[int, Field(description="Another one.", examples=[2], ge=1)],
        model: Model = "scoring/default",
    ) -> Answer:
        """Return the metrics and options of two versions of a model side by side, and which one serves."""
        rows = {row["version"]: row for row in self._client.models.versions(model)}
        for number in (first, second):
            if number not in rows:
                listed = ", ".join(map(str, sorted(rows)))
                raise NotFound(f"{model} has no version {number}; it has {listed}")
        pair = [rows[first], rows[second]]
        scores = [_numbers(row["manifest"].get("metrics") or {}) for row in pair]
        names = sorted(scores[0].keys() | scores[1].keys())
        return {
            "model": model,
            "champion": next((row["version"] for row in pair if row["champion"]), None),
            "versions": [first, second],
            "metrics": {name: [score.get(name) for score in scores] for name in names},
            "options": [row["manifest"].get("options") for row in pair],
        }

    def predict(
        self,
        records: Annotated[
            list[dict[str, object]] | dict[str, object],
            Field(description='Records, or one object such as {"devices": ["PUMP-21"]} for rul.'),
        ],
        model: Model = "scoring/default",
        query: Annotated[
            dict[str, object] | None,
            Field(description="Query options of the family.", examples=[{"similar_reports": 2}]),
        ] = None,
    ) -> Answer:
        """Return one prediction per record, all of one version, with uncertainty and warnings."""
        predictions = self._client.predict(records, model, **(query or {}))
        return {**vars(predictions), "predictions": list(predictions)}

    def explain_prediction(
        self, prediction_id: Annotated[str, Field(description="prediction_id of an earlier answer.")]
    ) -> Answer:
        """Return what stood behind a kept prediction: inputs, training data, evidence, and whether it still holds."""
        return self._client.explain(prediction_id)

    def list_sessions(self, limit: Limit = 20) -> Answer:
        """List training sessions of all models, the newest first."""
        return take_first(self._client.sessions(), limit)

    def get_session(self, session_id: SessionId) -> Answer:
        """Return one training session: state, progress, verdict with its reasons, metrics."""
        return self._client.session(session_id).json

    def list_backups(self) -> Answer:
        """List backups, the newest first, with when each was last verified and proven by a restore drill."""
        return {"results": list(self._client.backups.list())}

    def preview_restore(self, name: BackupName) -> Answer:
        """Return what restoring a backup would change (a dry run); nothing is changed."""
        return self._client.backups.preview_restore(name)

    def list_datasets(self) -> Answer:
        """List uploaded tables and recordings, with the findings of their validation."""
        return {"results": list(self._client.datasets.list())}


def take_first(rows: PagedRows, limit: int) -> Answer:
    """Return the first rows, and whether there are more."""
    taken = rows.head(limit + 1)
    return {"results": taken[:limit], "more": len(taken) > limit}


def _numbers(values: Answer, prefix: str = "") -> dict[str, float]:
    """Return the numbers among nested values, by their path."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            numbers |= _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[prefix + name] = value
    return numbers
