"""The nearest past reports with their scores: what an answer can be checked against."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.scoring.embedding.sentence_model import SentenceModel, hash_texts
from prediction.scoring.features.encoding import Encoded
from prediction.scoring.features.neighbours import to_unit_vectors
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.serving.artefacts import ReferenceReports, ScoringArtefacts
from storage.anomaly_reports.csv_store import SCORES

MAX_REFERENCE_REPORTS = 50_000
"""Newest reports among which evidence is searched."""

QUERY_BATCH_SIZE = 128


class SimilarReports:
    """Past reports searchable by sentence embedding, or by n-grams where there is no sentence model.

    Parameters
    ----------
    past : PastReports
        In time order.
    vectors : ndarray of float32, shape (reports, width)
        Unit vectors of the reports' texts.
    model : SentenceModel or None
        What made the vectors; None where they are n-gram sketches.
    """

    def __init__(self, past: ReferenceReports, vectors: Floats, model: SentenceModel | None) -> None:
        self._past = past
        self._model = model
        self._keys, first, text = np.unique(past.keys, return_index=True, return_inverse=True)
        of_texts = np.ascontiguousarray(vectors[first])
        _, distinct, self._place = np.unique(_digests(of_texts), return_index=True, return_inverse=True)
        self._vectors = of_texts[distinct]
        places = self._place[text]
        self._rows = np.argsort(places, kind="stable")
        self._starts = np.searchsorted(places[self._rows], np.arange(len(distinct) + 1))

    def nearest(self, texts: Sequence[str], encoded: Encoded, count: int) -> list[list[JSON]]:
        """For each text the nearest past reports: the nearest first, of equal texts the newest first."""
        if not count or not len(self._vectors) or not texts:
            return [[] for _ in texts]
        asked = self._asked(texts) if self._model else to_unit_vectors(encoded["sketch"])
        found = []
        for start in range(0, len(texts), QUERY_BATCH_SIZE):
            similar = asked[start : start + QUERY_BATCH_SIZE] @ self._vectors.T
            found += [self._shown(row, count) for row in similar]
        return found

    def _asked(self, texts: Sequence[str]) -> Floats:
        """Vectors of the texts; one that stands in the history needs no computing."""
        keys = hash_texts(texts)
        known = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        vectors = self._vectors[self._place[known]]
        fresh = np.flatnonzero(self._keys[known] != keys)
        if len(fresh) and self._model:
            vectors[fresh] = self._model.encode([texts[row] for row in fresh.tolist()])
        return vectors

    def _shown(self, similar: Floats, count: int) -> list[JSON]:
        """Texts that the model cannot tell apart (in capitals, say) share one vector and so one similarity:
        their order cannot depend on rounding."""
        last = max(len(similar) - count, 0)
        best = np.argpartition(similar, last)[last:] if last else np.arange(len(similar))
        shown: list[JSON] = []
        for place in best[np.argsort(-similar[best], kind="stable")].tolist():
            rows = self._rows[self._starts[place] : self._starts[place + 1]][::-1]
            shown += [self._report(row, float(similar[place])) for row in rows[: count - len(shown)].tolist()]
            if len(shown) == count:
                break
        return shown

    def _report(self, row: int, similarity: float) -> JSON:
        scores = self._past.scores[row].tolist()
        told = {name: None if isnan(score) else score for name, score in zip(SCORES, scores, strict=True)}
        return {**self._past.rows[row], "scores": told, "similarity": round(similarity, 5)}


def _digests(vectors: Floats) -> NDArray[np.uint64]:
    """One number a vector; equal vectors have equal numbers (multilinear hashing over 2^64)."""
    words = vectors.view(np.uint64)
    factors = np.random.default_rng(1).integers(2**64, size=words.shape[1], dtype=np.uint64) | np.uint64(1)
    digests: NDArray[np.uint64] = np.einsum("ij,j->i", words, factors)
    return digests


def build_similar_reports(served: ScoringArtefacts, model: SentenceModel) -> SimilarReports:
    """Evidence by the embeddings that the version's training saw to; by n-grams where there are none."""
    facts = served.facts["sentence_model"]
    present = model.facts
    past = served.past
    if facts and facts["name"] and present and present["weights_sha256"] == facts["weights_sha256"]:
        vectors, known = model.kept(facts["weights_sha256"], facts["width"]).read(past.keys)
        if known.any():
            places = np.flatnonzero(known).tolist()
            kept = ReferenceReports(
                past.keys[known], [past.rows[place] for place in places], past.scores[known]
            )
            return SimilarReports(kept, vectors[known].astype(np.float32), model)
    sketches = to_unit_vectors(served.timeline.recent["sketch"])
    count = min(len(sketches), len(past.rows))
    newest = slice(len(past.rows) - count, None)
    kept = ReferenceReports(past.keys[newest], past.rows[newest], past.scores[newest])
    return SimilarReports(kept, sketches[len(sketches) - count :], None)
