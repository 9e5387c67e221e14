"""A home that came without its cache: evidence by letters is told, until the embeddings are there again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from prediction.scoring.data.row_cache import hash_texts
from prediction.scoring.embedding.sentence_model import SentenceEncoder, SentenceModel, SentenceModelFacts
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.serving.artefacts import ReferenceReport, ReferenceReports, ScoringArtefacts
from prediction.scoring.serving.similar_reports import (
    build_similar_reports,
    complete_embeddings,
    count_missing,
)

TEXTS = ["fuite d'huile", "bruit anormal", "remise en état", "vibration"]


class SmallModel(SentenceModel):
    """A sentence model whose vectors are drawn from the texts; it is there, or not."""

    is_there = True

    @property
    def facts(self) -> SentenceModelFacts | None:
        facts = {"name": "small", "weights_sha256": "0" * 64, "width": 8, "longest": 16}
        return cast("SentenceModelFacts", facts) if self.is_there else None

    def load(self) -> SentenceEncoder:
        return cast("SentenceEncoder", SimpleNamespace(encode=self.draw, width=8))

    def draw(self, texts: Sequence[str]) -> Floats:
        vectors = np.stack([np.random.default_rng(len(text)).normal(size=8) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def artefacts() -> ScoringArtefacts:
    rows: list[ReferenceReport] = [
        {"anomaly_id": str(n), "description": text, "date": ""} for n, text in enumerate(TEXTS)
    ]
    reference = ReferenceReports(hash_texts(TEXTS), rows, np.full((len(TEXTS), 3), 2.0, np.float32))
    facts = {"sentence_model": {"name": "small", "weights_sha256": "0" * 64, "width": 8}}
    timeline = SimpleNamespace(recent=encode_reports(rows))
    return cast("ScoringArtefacts", SimpleNamespace(facts=facts, reference=reference, timeline=timeline))


def test_letters_are_told_until_the_embeddings_are_computed_again(tmp_path: Path) -> None:
    version, model = artefacts(), SmallModel("small", tmp_path)
    assert "by the letters of their texts until the embeddings of 4 reports" in limitation(version, model)
    assert (complete_embeddings(version, model, 3), count_missing(version, model)) == (3, 1)
    assert "among 3 of 4" in limitation(version, model)
    assert (complete_embeddings(version, model, 3), complete_embeddings(version, model, 3)) == (1, 0)
    assert limitation(version, model) == ""


def test_a_sentence_model_that_is_gone_is_told_and_not_waited_for(tmp_path: Path) -> None:
    version, model = artefacts(), SmallModel("small", tmp_path)
    model.is_there = False
    assert "it has not been exported" in limitation(version, model)
    assert complete_embeddings(version, model, 3) == 0


def test_letters_that_the_setting_asks_for_are_no_limitation(tmp_path: Path) -> None:
    model = SmallModel("none", tmp_path)
    model.is_there = False
    assert limitation(artefacts(), model) == ""


def limitation(version: ScoringArtefacts, model: SentenceModel) -> str:
    return build_similar_reports(version, model).limitation
