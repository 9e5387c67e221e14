"""Kept predictions, and whether the version of then and today's champion still answer so."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypedDict

from errors import MillwrightError, NoChampion, NotFound
from prediction.contract import ModelKey, Options
from prediction.serving import LoadedModel, ModelCache
from reports.facts.session_facts import find_time_span
from storage.db.kept_predictions import (
    KeptPrediction,
    PredictionSummary,
    decode,
    encode_exactly,
    hash_files,
)
from storage.models.champions import ChampionIndex
from storage.models.manifest import CertificateRecord, Manifest
from storage.models.versions import ModelVersion
from training.execution.parity import differences
from training.monitoring.prediction_archive import PredictionArchive

# Old versions that stay in memory: lists of predictions are mostly about one.
_MAX_VERSIONS: Final = 2
_MAX_DIFFERENCES: Final = 20
# Inputs of one request whose nearest past cases are looked up: nobody reads those of thousands.
_MAX_EVIDENCE: Final = 20


class Difference(TypedDict):
    """A field that differs; ``change`` is None where a text or a shape does."""

    field: str
    change: float | None


@dataclass(frozen=True)
class AnswerComparison:
    """What a version answers now, beside the answers that were kept.

    Parameters
    ----------
    identical : bool or None
        Whether every bit is the same; None where the version cannot answer.
    reason : str
        Why it cannot.
    agrees : bool or None
        Whether it means the same (`Predictor.agrees`), although some bits may differ.
    differences : list of Difference
        The largest.
    """

    version: int | None
    identical: bool | None
    reason: str = ""
    agrees: bool | None = None
    differences: Sequence[Difference] = ()
    predictions: Sequence[Mapping[str, object]] = field(default=(), repr=False)


class TrainingSummary(TypedDict, total=False):
    """What a manifest says of its training; ``first`` and ``last`` are the time span of the data."""

    session_id: int | None
    created_at: str | None
    rows: int | None
    fingerprint: str | None
    certificate: CertificateRecord | None
    first: str | None
    last: str | None


@dataclass(frozen=True)
class ExplainedPrediction:
    """A kept prediction, reproduced.

    Parameters
    ----------
    training : TrainingSummary
        Empty where the version was deleted.
    evidence : sequence, optional
        The past cases nearest to each of the first inputs, by the version of then; None where the family, or the
        deleted version, shows none.
    """

    kept: KeptPrediction
    inputs: Sequence[object]
    options: Options
    answers: Sequence[Mapping[str, object]]
    training: TrainingSummary
    reproduction: AnswerComparison
    champion: AnswerComparison
    evidence: Sequence[Sequence[Mapping[str, object]]] | None = None


class KeptPredictionService:
    """Predictions that were kept."""

    def __init__(self, archive: PredictionArchive, cache: ModelCache, champions: ChampionIndex) -> None:
        self._archive = archive
        self._champions = champions
        self._cache = cache
        self._versions: OrderedDict[tuple[ModelKey, int, str], LoadedModel] = OrderedDict()
        self._guard = threading.Lock()

    def page(self, tenant: str, limit: int, before: str | None = None) -> list[PredictionSummary]:
        """Return a tenant's kept predictions, the newest first."""
        self._archive.flush()
        return self._archive.store.page(tenant, limit, before)

    def explain(self, tenant: str, prediction_id: str) -> ExplainedPrediction:
        """Return a kept prediction, answered again by the version of then and by today's champion.

        Raises
        ------
        NotFound
            The tenant has no kept prediction of that id.
        ArtefactCorrupt
            It is damaged.
        """
        self._archive.flush()
        kept = self._archive.store.get(tenant, prediction_id)
        question, answers = map(decode, kept.read())
        inputs, options, key = (
            question["inputs"],
            question["options"],
            ModelKey(kept.family, kept.name, tenant),
        )
        training: TrainingSummary = {}
        evidence = None
        try:
            version = self._cache.find_version(key, kept.version)
            if version is None or hash_files(version.manifest) != kept.version_sha256:
                raise _gone(key, kept.version, version)
            model = self._load(key, version)
        except MillwrightError as error:
            reproduction = AnswerComparison(kept.version, None, error.message)
        else:
            training = _describe_training(model.manifest)
            reproduction = _compare(model, inputs, options, answers)
            evidence = model.predictor.find_evidence(inputs[:_MAX_EVIDENCE])
        try:
            champion = _compare(self._cache.current(key), inputs, options, answers)
        except MillwrightError as error:
            champion = AnswerComparison(None, None, error.message)
        return ExplainedPrediction(kept, inputs, options, answers, training, reproduction, champion, evidence)

    def champion_at(self, key: ModelKey, moment: datetime) -> LoadedModel:
        """Return the version that served at a moment.

        Raises
        ------
        NoChampion
            None did, or none is known to have.
        NotFound
            It was deleted.
        """
        number = self._champions.history.at(key.path, moment)
        if number is None:
            raise NoChampion(
                f"{key} had no champion at {moment:%Y-%m-%d %H:%M} UTC", model=str(key), reasons=[]
            )
        version = self._cache.find_version(key, number)
        # A version that was made later has the number of the one that served then.
        if version is None or datetime.fromisoformat(version.manifest["created_at"]) > moment:
            raise _gone(key, number, version)
        return self._load(key, version)

    def _load(self, key: ModelKey, version: ModelVersion) -> LoadedModel:
        identity = key, version.number, hash_files(version.manifest)
        with self._guard:
            if identity in self._versions:
                self._versions.move_to_end(identity)
                return self._versions[identity]
        model = self._cache.load_version(key, version)
        with self._guard:
            self._versions[identity] = model
            while len(self._versions) > _MAX_VERSIONS:
                self._versions.popitem(last=False)
        return model


def _gone(key: ModelKey, number: int, version: ModelVersion | None) -> NotFound:
    what = "was deleted" if version is None else "was deleted, and its number given to another version"
    return NotFound(
        f"Version {number} of {key} {what}, so what it answered cannot be made again until a backup that holds it "
        "is restored"
    )


def _compare(
    model: LoadedModel, inputs: Sequence[object], options: Options, answers: Sequence[Mapping[str, object]]
) -> AnswerComparison:
    predictions = model.predictor.predict(inputs, dict(options))
    if encode_exactly(predictions) == encode_exactly(answers):
        return AnswerComparison(model.number, True, agrees=True, predictions=predictions)
    agrees = len(predictions) == len(answers) and all(map(model.predictor.agrees, answers, predictions))
    changes = [
        (name, change) for name, change in differences(predictions, list(answers), "predictions") if change
    ]
    largest = sorted(changes, key=lambda change: -change[1])[:_MAX_DIFFERENCES]
    shown: list[Difference] = [
        {"field": name, "change": change if change < float("inf") else None} for name, change in largest
    ]
    return AnswerComparison(model.number, False, "", agrees, shown, predictions)


def _describe_training(manifest: Manifest) -> TrainingSummary:
    first, last = find_time_span(manifest.get("facts") or {}) or (None, None)
    return {
        "session_id": manifest.get("session_id"),
        "created_at": manifest.get("created_at"),
        "rows": manifest.get("rows"),
        "fingerprint": manifest.get("fingerprint"),
        "certificate": manifest.get("certificate"),
        "first": first,
        "last": last,
    }
