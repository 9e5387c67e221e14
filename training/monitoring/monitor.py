"""One look at the models: what is known of each, what is decided, and the trainings that follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from errors import MillwrightError, NotFound
from prediction import registry
from prediction.contract import JSON, ModelKey, Resources
from prediction.monitoring import FamilyMonitor, MonitoringReport
from prediction.serving import ModelCache
from storage.container import Storage
from storage.db.scheduler_runs import RetrainDecision, RetrainDecisions
from storage.db.tables import utc_now
from storage.devices.predictions import Predictions
from storage.sensors.readings import to_microseconds
from training.batch import BatchRequest
from training.context import TrainingRequest
from training.execution.ipc import nan_to_none
from training.monitoring.prediction_log import PredictionBuffer
from training.monitoring.retraining_policy import (
    LEAVE,
    PERIOD,
    TRAIN,
    WAIT,
    RetrainHistory,
    RetrainingPolicy,
    decide,
    has_changed,
)
from training.runner import SessionRunner
from training.tracking.outbox import NoTracking

log = structlog.get_logger()

KIND = "schedule"
"""The kind of the sessions that are started here."""


class ModelMonitor:
    """Looks after the models of every family that has an upkeep.

    It loads each champion for itself and keeps none, so that a fleet does not drive out those that are asked.

    Parameters
    ----------
    resources : Resources
        What champions share.
    noted : NotedPredictions
        This process's answers, written before they are looked at.
    tracking : NoTracking
        Told how models do in production.
    threads : SessionThreads
        Where sessions run.
    served : callable
        Waits until every worker answers from the present champions.

    Attributes
    ----------
    clock : callable
        This instant, aware.
    """

    def __init__(
        self,
        storage: Storage,
        resources: Resources,
        noted: PredictionBuffer,
        tracking: NoTracking,
        *,
        threads: SessionRunner,
        served: Callable[[], None],
    ) -> None:
        self.policy = RetrainingPolicy.of(storage.settings)
        self.decisions = RetrainDecisions(storage.database)
        self.clock: Callable[[], datetime] = utc_now
        self._storage = storage
        self._resources = resources
        self._noted = noted
        self._tracking = tracking
        self._threads = threads
        self._served = served

    def evidence(self, key: ModelKey) -> MonitoringReport:
        """What is known of one model now.

        Raises
        ------
        NotFound
            Nothing looks after this model.
        """
        self._noted.flush()
        upkeep = self._upkeep(key.family, key.tenant)
        if upkeep is None or key.name not in upkeep.promoted_models():
            raise NotFound(f"Nobody looks after {key}: only models that answer are, of {', '.join(_kept())}")
        return upkeep.report(key.name, self.clock())

    @staticmethod
    def production_performance(production: JSON) -> JSON:
        """A version's metrics on what came after its training, flat and finite: those that are known.

        With ``promised_error``, ``measured_error`` and their ``ratio``, and how many cases they rest on.

        Parameters
        ----------
        production : mapping
            ``production`` of :meth:`Evidence.as_dict`.
        """
        beside = {"promised_error": "promised", "measured_error": "measured", "ratio": "ratio"}
        numbers = {**production["metrics"], **{name: production[field] for name, field in beside.items()}}
        flat: JSON = nan_to_none(
            {name: value for name, value in numbers.items() if isinstance(value, int | float)}
        )
        return flat

    def due(self, tenant: str | None = None) -> list[RetrainDecision]:
        """What would be decided now; nothing is kept and nothing starts."""
        self._noted.flush()
        return [
            self._decided(upkeep, name, "")
            for upkeep in self._upkeeps(tenant)
            for name in upkeep.promoted_models()
        ]

    def look(self, name: str, tenant: str | None = None) -> list[RetrainDecision]:
        """Decide about every model once and train those that are due, one after the other.

        Parameters
        ----------
        name : str
            Of this look: a look of the same name goes on where one was cut short.
        tenant : str, optional
            Whose models; everybody's, where it is not given.
        """
        self._noted.flush()
        oldest = self.clock() - timedelta(days=self._storage.settings.prediction_retention_days)
        Predictions(self._storage.database).delete_old(to_microseconds(oldest))
        decided = [done for upkeep in self._upkeeps(tenant) for done in self._looked_after(upkeep, name)]
        self._tracking.carry()
        return decided

    def _looked_after(self, upkeep: FamilyMonitor, look: str) -> Iterator[RetrainDecision]:
        due = []
        for name in upkeep.promoted_models():
            decision = self.decisions.add(self._decided(upkeep, name, look))
            if decision is None:
                continue
            log.info("upkeep_decided", model=f"{decision.family}/{name}", tenant=decision.tenant,
                     action=decision.action, reasons=decision.reasons)  # fmt: skip
            self._track(upkeep.key(name), decision)
            if decision.action != TRAIN:
                yield decision
            elif upkeep.batch_training:
                due.append(decision)
            else:
                yield from self._train_alike(upkeep, [decision])
        yield from self._train_alike(upkeep, due)

    def _track(self, key: ModelKey, decision: RetrainDecision) -> None:
        """Tell what was measured in production, where something was."""
        production = decision.evidence.get("production", {})
        if production.get("measured") is not None:
            self._tracking.measured(key, self.production_performance(production))

    def _decided(self, upkeep: FamilyMonitor, name: str, look: str) -> RetrainDecision:
        at = self.clock()
        try:
            evidence = upkeep.report(name, at)
            action, reasons = decide(evidence, self.policy, self._past(upkeep.key(name), at), at)
            told = nan_to_none({**evidence.to_dict(), "changed": has_changed(evidence, self.policy)})
        except MillwrightError as error:
            action, reasons, told = LEAVE, [error.message], {}
        except Exception as error:  # a version from elsewhere must not keep others from being looked at
            log.exception("upkeep_failed", model=f"{upkeep.family}/{name}", tenant=upkeep.tenant)
            action, reasons, told = LEAVE, [f"It could not be looked at: {type(error).__name__}"], {}
        return RetrainDecision(upkeep.tenant, upkeep.family, name, look, at, action, reasons, told)

    def _past(self, key: ModelKey, at: datetime) -> RetrainHistory:
        mine = self.decisions.list_trainings(key.tenant, key.family, key.name)
        return RetrainHistory(
            last=mine[0].decided_at if mine else None,
            refused=self._refused(mine),
            of_period=self.decisions.count_trainings(key.tenant, since=at - PERIOD),
        )

    def _refused(self, trainings: Sequence[RetrainDecision]) -> int:
        """How many sessions in a row, up to the last, have promoted nothing."""
        for count, decision in enumerate(trainings):
            assert decision.session_id is not None
            try:
                session = self._storage.sessions.get(decision.session_id)
            except NotFound:
                return count
            made = {item["name"]: item["state"] for item in session.items}
            if made.get(decision.name, session.state) == "completed":
                return count
        return len(trainings)

    def _train_alike(
        self, upkeep: FamilyMonitor, due: Sequence[RetrainDecision]
    ) -> Iterator[RetrainDecision]:
        """One session for all that are trained with the same options."""
        groups: dict[str, tuple[JSON, list[RetrainDecision]]] = {}
        for one in due:
            try:
                options = self._options(upkeep, one)
            except MillwrightError as error:
                yield self._put_off(one, error)
            else:
                groups.setdefault(json.dumps(options, sort_keys=True), (options, []))[1].append(one)
        for options, group in groups.values():
            yield from self._train(upkeep, group, options)

    def _train(
        self, upkeep: FamilyMonitor, due: Sequence[RetrainDecision], options: JSON
    ) -> Iterator[RetrainDecision]:
        """Start one session for these models, note its number at once, and wait for its end."""
        try:
            running = self._threads.start(_order(upkeep, due, options))
            session = running.admitted.result().session
            assert session is not None
            due = [replace(decision, session_id=session.id) for decision in due]
            for decision in due:
                self.decisions.update(decision.id, session_id=session.id)
            running.ended.result()
            self._served()
        except MillwrightError as error:
            due = [self._put_off(one, error) for one in due]
        yield from due

    def _put_off(self, decision: RetrainDecision, error: MillwrightError) -> RetrainDecision:
        """Wait with a training that could not be."""
        waits = replace(decision, action=WAIT, reasons=[*decision.reasons, error.message])
        self.decisions.update(decision.id, action=WAIT, reasons=waits.reasons)
        return waits

    def _options(self, upkeep: FamilyMonitor, decision: RetrainDecision) -> JSON:
        """Those of the champion, checked as a client's would be."""
        parser = registry.create_parser(upkeep.family)
        return parser.parse_options(upkeep.retrain_options(decision.name, decision.evidence["changed"]))

    def _upkeeps(self, tenant: str | None) -> Iterator[FamilyMonitor]:
        paths = self._storage.versions.keys()
        tenants = sorted({path.split("/")[0] for path in paths}) if tenant is None else [tenant]
        for one in tenants:
            for family in _kept():
                upkeep = self._upkeep(family, one)
                assert upkeep is not None
                yield upkeep

    def _upkeep(self, family: str, tenant: str) -> FamilyMonitor | None:
        kind = registry.load_monitor(family)
        storage = self._storage
        one_at_a_time = ModelCache(storage.versions, self._resources, capacity=1)
        return kind(storage.database, storage.versions, tenant, one_at_a_time.current) if kind else None


def _order(
    upkeep: FamilyMonitor, due: Sequence[RetrainDecision], options: JSON
) -> TrainingRequest | BatchRequest:
    if not upkeep.batch_training:
        (one,) = due
        return TrainingRequest(upkeep.key(one.name), KIND, options, why=one.reasons)
    why = [f"{one.name}: {' '.join(one.reasons)}" for one in due]
    return BatchRequest(upkeep.family, upkeep.tenant, [one.name for one in due], options, why=why)


def _kept() -> list[str]:
    """The families whose models are looked after."""
    return [family for family, entry in registry.FAMILIES.items() if entry.monitor]
