"""Tools that change something, in two calls: what would change and a token; then, with the token, the change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field

from cli.mcp.confirmation import LIFETIME_SECONDS, Confirmations
from cli.mcp.reading import BackupName, Model, Options, Records, SessionId
from millwright_client import Answer, Millwright, TrainingSession

Token = Annotated[
    str | None,
    Field(
        description="Leave out at first; then the `confirmation` of the first answer, once the user agrees."
    ),
]


class ChangingTools:
    """What can be changed on a server, each time after a confirmation."""

    def __init__(self, client: Millwright, confirmations: Confirmations) -> None:
        self._client = client
        self._confirmations = confirmations

    def start_training(
        self,
        model: Model = "scoring/default",
        records: Records | None = None,
        options: Options = None,
        confirmation: Token = None,
    ) -> Answer:
        """Start a training; get_session follows it.

        Records are for scoring only: the other families learn from stored data.
        """
        options = options or {}
        return self._confirm(
            ("start_training", model, {"model": model, "records": records, "options": options}),
            lambda: self._client.preview_training(records, model, **options),
            lambda: _describe_start(self._client.train(records, model, **options)),
            confirmation,
        )

    def train_damage_model(
        self,
        data: Annotated[str, Field(description="Id of a dataset of recordings, as list_datasets shows it.")],
        model_type: Annotated[str, Field(description="Network.", examples=["cnn", "auto"])] = "cnn",
        name: Annotated[str, Field(description="Name of the model.", examples=["pump"])] = "default",
        options: Options = None,
        confirmation: Token = None,
    ) -> Answer:
        """Start to train a damage model on recordings; the answer has the address of its report."""
        model, options = f"damage/{name}", {**(options or {}), "dataset": data, "model_type": model_type}

        def start() -> Answer:
            answer = _describe_start(self._client.train(None, model, **options))
            report = f"{self._client.connection.location}/train/sessions/{answer['training_session_id']}/report.html"
            return {**answer, "report": report, "note": "The report is there when the session has ended."}

        return self._confirm(
            ("train_damage_model", model, {"model": model, "options": options}),
            lambda: self._client.preview_training(None, model, **options),
            start,
            confirmation,
        )

    def undo_session(self, session_id: SessionId, confirmation: Token = None) -> Answer:
        """Take the records of a session out again and train without them; later records stay."""
        session = self._client.session(session_id)
        return self._confirm(
            ("undo_session", f"session {session_id}", {"session_id": session_id}),
            lambda: {
                "takes_out": session.json["records_added"],
                "of": session.json["model"],
                "then": "the model is trained without them",
            },
            lambda: _describe_start(session.undo()),
            confirmation,
        )

    def promote_version(
        self,
        version: Annotated[int, Field(description="The version that is to serve.", examples=[2], ge=1)],
        model: Model = "scoring/default",
        accepted_by: Annotated[
            str | None, Field(description="The person who accepts lower scores for locked severe cases.")
        ] = None,
        confirmation: Token = None,
    ) -> Answer:
        """Let another version of a model serve."""

        def preview() -> Answer:
            rows = list(self._client.models.versions(model))
            serving = next((row["version"] for row in rows if row["champion"]), None)
            known = version in [row["version"] for row in rows]
            return {"model": model, "serves_now": serving, "would_serve": version, "version_exists": known}

        arguments = {"version": version, "model": model, "accepted_by": accepted_by}
        return self._confirm(
            ("promote_version", f"{model} version {version}", arguments),
            preview,
            lambda: self._client.models.promote(version, model, accepted_by),
            confirmation,
        )

    def create_backup(
        self,
        reason: Annotated[str, Field(description="Why.", examples=["before the audit"])],
        retain: Annotated[bool, Field(description="Keep it for good.")] = False,
        confirmation: Token = None,
    ) -> Answer:
        """Back data and models up now."""
        return self._confirm(
            ("create_backup", reason, {"reason": reason, "retain": retain}),
            lambda: {"adds": "a backup of data and models", "reason": reason, "kept_for_good": retain},
            lambda: self._client.backups.create(reason, retain=retain),
            confirmation,
        )

    def restore_backup(self, name: BackupName, confirmation: Token = None) -> Answer:
        """Bring data and models back to a backup; the present is backed up first."""
        return self._confirm(
            ("restore_backup", name, {"name": name}),
            lambda: self._client.backups.preview_restore(name),
            lambda: self._client.backups.restore(name),
            confirmation,
        )

    def judge_anomaly(
        self,
        anomaly_id: Annotated[int, Field(description="Id of an anomaly.", examples=[31], ge=1)],
        verdict: Annotated[
            str, Field(description="confirmed, false_alarm or new_normal.", examples=["false_alarm"])
        ],
        confirmation: Token = None,
    ) -> Answer:
        """Record a verdict on an anomaly, from which later trainings learn."""
        return self._confirm(
            (
                "judge_anomaly",
                f"anomaly {anomaly_id} as {verdict}",
                {"anomaly_id": anomaly_id, "verdict": verdict},
            ),
            lambda: self._client.connection.get(f"/api/anomalies/{anomaly_id}"),
            lambda: self._client.anomalies.judge(anomaly_id, verdict),
            confirmation,
        )

    def _confirm(
        self,
        call: tuple[str, str, Mapping[str, object]],
        preview: Callable[[], Answer],
        change: Callable[[], Answer],
        token: str | None,
    ) -> Answer:
        """Return what a call would change with a token for it; with the token, do it.

        Parameters
        ----------
        call : tuple
            The tool, what it changes in words, and the arguments that the token binds.
        """
        tool, subject, arguments = call
        if token is None:
            return {
                "done": False,
                "would_change": preview(),
                "confirmation": self._confirmations.issue(tool, subject, arguments),
                "next": "Show the user what would change. If they agree, call again with the same arguments "
                f"and this confirmation within {LIFETIME_SECONDS / 60:.0f} minutes.",
            }
        self._confirmations.require(token, tool, arguments)
        return {"done": True, **change()}


def _describe_start(session: TrainingSession) -> Answer:
    return {
        "training_session_id": session.id,
        "state": session.state,
        "message": "Nothing new: every record is known" if session.id is None else "get_session follows it",
    }
