"""Find the most similar past reports with their scores: the evidence that a person checks an answer with."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.data.row_cache import RowCache, hash_texts
from prediction.scoring.embedding.sentence_model import SentenceModel
from prediction.scoring.features.encoding import Encoded
from prediction.scoring.features.neighbours import to_unit_vectors
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.serving.artefacts import ReferenceReports, ScoringArtefacts, SimilarReport
from storage.anomaly_reports.reports import SCORES

# Newest reports that are searched.
MAX_REFERENCE_REPORTS = 50_000

QUERY_BATCH_SIZE = 128


class SimilarReports:
    """Past reports searchable by sentence embedding, or by n-grams where there is no sentence model.

    Parameters
    ----------
    reference : ReferenceReports
        In time order.
    vectors : ndarray of float32, shape (reports, width)
        Unit vectors of the reports' texts.
    model : SentenceModel or None
        What computed the vectors; None where they are n-gram sketches.
    limitation : str
        What the search lacks, as a sentence; empty where it lacks nothing.
    """

    def __init__(
        self,
        reference: ReferenceReports,
        vectors: Floats,
        model: SentenceModel | None,
        limitation: str = "",
    ) -> None:
        self.limitation = limitation
        self._reference = reference
        self._model = model
        self._keys, first, text = np.unique(reference.keys, return_index=True, return_inverse=True)
        text_vectors = np.ascontiguousarray(vectors[first])
        # Texts that the model cannot tell apart (in capitals, say) share one vector and so one similarity:
        # their order cannot depend on rounding.
        digests = _hash_vectors(text_vectors)
        _, distinct, self._vector_of_text = np.unique(digests, return_index=True, return_inverse=True)
        self._vectors = text_vectors[distinct]
        vector_of_row = self._vector_of_text[text]
        self._rows = np.argsort(vector_of_row, kind="stable")
        self._starts = np.searchsorted(vector_of_row[self._rows], np.arange(len(distinct) + 1))

    def nearest(self, texts: Sequence[str], encoded: Encoded, count: int) -> list[list[SimilarReport]]:
        """Return the nearest past reports of each text: nearest first, of equal texts newest first."""
        if not count or not len(self._vectors) or not texts:
            return [[] for _ in texts]
        if self._model is None:  # noqa: SIM108 (a ternary of two lines)
            queries = to_unit_vectors(encoded["sketch"])
        else:
            queries = self._embed(texts, self._model)
        answers = []
        for start in range(0, len(texts), QUERY_BATCH_SIZE):
            similarity = queries[start : start + QUERY_BATCH_SIZE] @ self._vectors.T
            answers += [self._select(row, count) for row in similarity]
        return answers

    def _embed(self, texts: Sequence[str], model: SentenceModel) -> Floats:
        """Return the texts' vectors, computing only those that are not in the reference."""
        keys = hash_texts(texts)
        index = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        vectors = self._vectors[self._vector_of_text[index]]
        missing = np.flatnonzero(self._keys[index] != keys)
        if len(missing):
            vectors[missing] = model.encode([texts[row] for row in missing.tolist()])
        return vectors

    def _select(self, similarity: Floats, count: int) -> list[SimilarReport]:
        last = max(len(similarity) - count, 0)
        best = np.argpartition(similarity, last)[last:] if last else np.arange(len(similarity))
        reports: list[SimilarReport] = []
        for vector in best[np.argsort(-similarity[best], kind="stable")].tolist():
            rows = self._rows[self._starts[vector] : self._starts[vector + 1]][::-1]
            value = round(float(similarity[vector]), 5)
            reports += [self._describe(row, value) for row in rows[: count - len(reports)].tolist()]
            if len(reports) == count:
                break
        return reports

    def _describe(self, row: int, similarity: float) -> SimilarReport:
        values = self._reference.scores[row].tolist()
        scores = {name: None if isnan(value) else value for name, value in zip(SCORES, values, strict=True)}
        return {**self._reference.rows[row], "scores": scores, "similarity": similarity}


def _hash_vectors(vectors: Floats) -> NDArray[np.uint64]:
    """Return one number a vector, equal for equal vectors (multilinear hashing over 2^64)."""
    words = vectors.view(np.uint64)
    factors = np.random.default_rng(1).integers(2**64, size=words.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes: NDArray[np.uint64] = np.einsum("ij,j->i", words, factors)
    return hashes


def build_similar_reports(artefacts: ScoringArtefacts, model: SentenceModel) -> SimilarReports:
    """Return evidence by the embeddings that training cached; by n-grams where there are none."""
    reference, limitation = artefacts.reference, _describe_absence(artefacts, model)
    if (cache := _find_cache(artefacts, model)) is not None:
        vectors, present = cache.read(reference.keys)
        index = np.flatnonzero(present)
        limitation = _describe_missing(len(index), len(reference.rows))
        if len(index):
            found = vectors[index].astype(np.float32)
            return SimilarReports(reference.select(index), found, model, limitation)
    sketches = to_unit_vectors(artefacts.timeline.recent["sketch"])
    count = min(len(sketches), len(reference.rows))
    newest = np.arange(len(reference.rows) - count, len(reference.rows))
    return SimilarReports(reference.select(newest), sketches[len(sketches) - count :], None, limitation)


def count_missing(artefacts: ScoringArtefacts, model: SentenceModel) -> int:
    """Return how many reports the cache holds no embedding of; all where the sentence model is not there."""
    cache = _find_cache(artefacts, model)
    if cache is None:
        return len(artefacts.reference.rows)
    return int(np.count_nonzero(~cache.read(artefacts.reference.keys)[1]))


def complete_embeddings(artefacts: ScoringArtefacts, model: SentenceModel, max_texts: int) -> int:
    """Compute embeddings that the cache has lost, of the newest texts first.

    Parameters
    ----------
    max_texts : int
        How many to compute in this call.

    Returns
    -------
    int
        How many were computed.
    """
    reference, cache = artefacts.reference, _find_cache(artefacts, model)
    if cache is None:
        return 0
    _, present = cache.read(reference.keys)
    _, first = np.unique(reference.keys, return_index=True)
    missing = np.sort(first[~present[first]])[-max_texts:]
    if len(missing):
        texts = [reference.rows[row]["description"] for row in missing.tolist()]
        cache.append(reference.keys[missing], model.load().encode(texts).astype(np.float16))
    return len(missing)


def _find_cache(artefacts: ScoringArtefacts, model: SentenceModel) -> RowCache[np.float16] | None:
    """Return the cache of the sentence model with which a version was trained; None where it is not there."""
    trained, current = artefacts.facts["sentence_model"], model.facts
    if trained and trained["name"] and current and current["weights_sha256"] == trained["weights_sha256"]:
        return model.embedding_cache(trained["weights_sha256"], trained["width"])
    return None


def _describe_absence(artefacts: ScoringArtefacts, model: SentenceModel) -> str:
    """Return why a version is without the sentence model that it was trained with, if it was with any."""
    trained = artefacts.facts["sentence_model"]
    if not (trained and trained["name"]) or model.name == "none":
        return ""
    cause = (
        "it is another one now, which the next training takes"
        if model.facts
        else "it has not been exported: restart the server with its package or folder in place"
    )
    return (
        f"Similar reports are found by the letters of their texts, because the sentence model {trained['name']!r} "
        f"of the training is not there; {cause}"
    )


def _describe_missing(searched: int, reports: int) -> str:
    if searched == reports:
        return ""
    if not searched:
        return (
            f"Similar reports are found by the letters of their texts until the embeddings of {reports} reports are "
            "computed again, which is being done"
        )
    return (
        f"Similar reports are searched among {searched} of {reports} until the embeddings of the others are computed "
        "again, which is being done"
    )
