"""The model monitor: check every model, decide whether it is trained again, and start the trainings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from errors import MillwrightError, NotFound
from prediction import registry
from prediction.contract import ModelKey, Options, Resources
from prediction.monitoring import FamilyMonitor, MonitoringReport, ProductionRecord
from prediction.serving import ModelCache
from storage.db.scheduler_runs import RetrainDecision, RetrainDecisions, SchedulerRuns
from storage.db.tables import utc_now
from storage.devices.predictions import PredictionStore
from storage.times import from_microseconds, to_microseconds
from training.context import TrainingDeps, TrainingRequest
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
from training.monitoring.scheduler import Scheduler, leader_lock, tick_of
from training.runner import SessionRunner
from training.services.worker_reload import WorkerReload

log = structlog.get_logger()

# The kind of the sessions that the monitor starts.
SESSION_KIND = "schedule"


@dataclass(frozen=True)
class ScheduleStatus:
    """The schedule of a server; ``interval_hours`` is 0 where no schedule runs."""

    interval_hours: float
    has_leader: bool
    last_run_at: datetime | None
    next_run_at: datetime | None


class ModelMonitor:
    """Checks the models of every family that has a monitor.

    It loads each champion for itself and keeps none, so that a large fleet does not evict the champions that
    clients use.

    Parameters
    ----------
    predictions : PredictionBuffer
        This process's predictions, written before they are compared.

    Attributes
    ----------
    clock : callable
        Returns the present instant, with a time zone.
    """

    def __init__(
        self,
        deps: TrainingDeps,
        runner: SessionRunner,
        predictions: PredictionBuffer,
        resources: Resources,
        worker_reload: WorkerReload,
    ) -> None:
        self.policy = RetrainingPolicy.from_settings(deps.storage.settings)
        self.decisions = RetrainDecisions(deps.storage.database)
        self.clock: Callable[[], datetime] = utc_now
        self._storage = deps.storage
        self._tracking = deps.tracking
        self._runner = runner
        self._predictions = predictions
        self._resources = resources
        self._worker_reload = worker_reload

    def report(self, key: ModelKey) -> MonitoringReport:
        """Return what is known of one model now.

        Raises
        ------
        NotFound
            The model is not monitored.
        """
        self._predictions.flush()
        monitor = self.family_monitor(key.family, key.tenant)
        if monitor is None or key.name not in monitor.promoted_models():
            families = ", ".join(_monitored_families())
            raise NotFound(f"{key} is not monitored: only models of {families} that have a champion are")
        return monitor.report(key.name, self.clock())

    @staticmethod
    def production_performance(production: ProductionRecord) -> dict[str, float | None]:
        """Return a version's metrics on what came after its training, flat and finite.

        Parameters
        ----------
        production : ProductionRecord
            Of `MonitoringReport.to_dict`.
        """
        numbers = {
            **production["metrics"],
            "promised_error": production["promised"],
            "measured_error": production["measured"],
            "ratio": production["ratio"],
        }
        return nan_to_none({name: value for name, value in numbers.items() if isinstance(value, int | float)})

    def plan(self, tenant: str | None = None) -> list[RetrainDecision]:
        """Return what `check` would decide now, without storing or starting anything."""
        self._predictions.flush()
        return [
            self._decide(monitor, name, "")
            for monitor in self._monitors(tenant)
            for name in monitor.promoted_models()
        ]

    def check(self, run: str, tenant: str | None = None) -> list[RetrainDecision]:
        """Decide about every model once and train those that are due, one session after the other.

        Parameters
        ----------
        run : str
            Name of this run: a run of the same name goes on where one was cut short.
        tenant : str, optional
            Whose models; all tenants' by default.
        """
        self._predictions.flush()
        oldest = self.clock() - timedelta(days=self._storage.settings.prediction_retention_days)
        PredictionStore(self._storage.database).delete_old(to_microseconds(oldest))
        decisions = [decision for monitor in self._monitors(tenant) for decision in self._check(monitor, run)]
        self._tracking.upload()
        return decisions

    def create_scheduler(self) -> Scheduler | None:
        """Return what runs `check` at the interval of the settings; None if they switch it off."""
        settings = self._storage.settings
        if not settings.monitoring_interval_hours:
            return None
        interval = timedelta(hours=settings.monitoring_interval_hours)
        runs = SchedulerRuns(self._storage.database)
        return Scheduler(leader_lock(settings.run_dir), runs, interval, self.check)

    def schedule_status(self) -> ScheduleStatus:
        """Return when the models were checked last and when they will be checked next."""
        settings = self._storage.settings
        hours, last = settings.monitoring_interval_hours, SchedulerRuns(self._storage.database).last()
        interval = timedelta(hours=hours)
        return ScheduleStatus(
            interval_hours=hours,
            has_leader=leader_lock(settings.run_dir).is_held(),
            last_run_at=last.started_at if last else None,
            next_run_at=from_microseconds(tick_of(self.clock(), interval)) + interval if hours else None,
        )

    def trainings_in_period(self, tenant: str) -> int:
        """Return how many sessions the monitor has started for a tenant within the last seven days."""
        return self.decisions.count_trainings(tenant, since=self.clock() - PERIOD)

    def _check(self, monitor: FamilyMonitor, run: str) -> Iterator[RetrainDecision]:
        due = []
        for name in monitor.promoted_models():
            decision = self.decisions.add(self._decide(monitor, name, run))
            if decision is None:  # decided in an earlier part of this run
                continue
            log.info(
                "retraining_decided",
                model=f"{decision.family}/{name}",
                tenant=decision.tenant,
                action=decision.action,
                reasons=decision.reasons,
            )
            production = decision.evidence.get("production", {})
            if production.get("measured") is not None:
                self._tracking.record_performance(monitor.key(name), self.production_performance(production))
            if decision.action != TRAIN:
                yield decision
            elif monitor.batch_training:
                due.append(decision)
            else:
                yield from self._train_all(monitor, [decision])
        yield from self._train_all(monitor, due)

    def _decide(self, monitor: FamilyMonitor, name: str, run: str) -> RetrainDecision:
        now, evidence = self.clock(), {}
        try:
            report = monitor.report(name, now)
            key = monitor.key(name)
            trainings = self.decisions.list_trainings(key.tenant, key.family, key.name)
            history = RetrainHistory(
                last=trainings[0].decided_at if trainings else None,
                not_promoted=self._count_not_promoted(trainings),
                in_period=self.decisions.count_trainings(key.tenant, since=now - PERIOD),
            )
            action, reasons = decide(report, self.policy, history, now)
            evidence = nan_to_none({**report.to_dict(), "changed": has_changed(report, self.policy)})
        except MillwrightError as error:
            action, reasons = LEAVE, [error.message]
        except Exception as error:  # one damaged version must not keep the others from being checked
            log.exception("model_check_failed", model=f"{monitor.family}/{name}", tenant=monitor.tenant)
            action, reasons = LEAVE, [f"It could not be looked at: {type(error).__name__}"]
        return RetrainDecision(monitor.tenant, monitor.family, name, run, now, action, reasons, evidence)

    def _count_not_promoted(self, trainings: Sequence[RetrainDecision]) -> int:
        """Return how many trainings in a row, up to the last, promoted nothing."""
        for count, decision in enumerate(trainings):
            assert decision.session_id is not None
            try:
                session = self._storage.sessions.get(decision.session_id)
            except NotFound:
                return count
            states = {item["name"]: item["state"] for item in session.items}
            if states.get(decision.name, session.state) == "completed":
                return count
        return len(trainings)

    def _train_all(self, monitor: FamilyMonitor, due: Sequence[RetrainDecision]) -> Iterator[RetrainDecision]:
        """Train models, in one session for all that are trained with the same options."""
        groups: dict[str, tuple[Options, list[RetrainDecision]]] = {}
        parser = registry.create_parser(monitor.family)
        for decision in due:
            try:
                # The champion's options, checked as a client's would be: their limits may have changed.
                champion_options = monitor.retrain_options(decision.name, decision.evidence["changed"])
                options = parser.parse_options(champion_options)
            except MillwrightError as error:
                yield self._postpone(decision, error)
            else:
                group = groups.setdefault(json.dumps(options, sort_keys=True), (options, []))
                group[1].append(decision)
        for options, decisions in groups.values():
            yield from self._train(monitor, decisions, options)

    def _train(
        self, monitor: FamilyMonitor, due: Sequence[RetrainDecision], options: Options
    ) -> Iterator[RetrainDecision]:
        """Start one session, store its number with the decisions at once, and wait for its end."""
        if monitor.batch_training:
            request = TrainingRequest.for_batch(
                monitor.family,
                monitor.tenant,
                [decision.name for decision in due],
                options,
                trigger_reasons=[f"{decision.name}: {' '.join(decision.reasons)}" for decision in due],
            )
        else:
            (decision,) = due
            request = TrainingRequest(
                monitor.key(decision.name), SESSION_KIND, options, trigger_reasons=decision.reasons
            )
        try:
            handle = self._runner.start(request)
            session = handle.admitted.result().session
            assert session is not None
            due = [replace(decision, session_id=session.id) for decision in due]
            for decision in due:
                self.decisions.update(decision.id, session_id=session.id)
            handle.ended.result()
            self._worker_reload.refresh()
        except MillwrightError as error:
            due = [self._postpone(decision, error) for decision in due]
        yield from due

    def _postpone(self, decision: RetrainDecision, error: MillwrightError) -> RetrainDecision:
        """Turn a decision to train into one to wait, because the training could not run."""
        postponed = replace(decision, action=WAIT, reasons=[*decision.reasons, error.message])
        self.decisions.update(decision.id, action=WAIT, reasons=postponed.reasons)
        return postponed

    def _monitors(self, tenant: str | None) -> Iterator[FamilyMonitor]:
        tenants = self._storage.champions.tenants() if tenant is None else [tenant]
        for name in tenants:
            for family in _monitored_families():
                monitor = self.family_monitor(family, name)
                assert monitor is not None
                yield monitor

    def family_monitor(self, family: str, tenant: str) -> FamilyMonitor | None:
        """Return the monitor of a family's models; None if the family has none."""
        kind, storage = registry.load_monitor(family), self._storage
        cache = ModelCache(storage.versions, self._resources, capacity=1)
        return kind(storage.database, storage.versions, tenant, cache.current) if kind else None


def _monitored_families() -> list[str]:
    return [family for family, entry in registry.FAMILIES.items() if entry.monitor]
