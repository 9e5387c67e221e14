"""The nearest past reports: the same ones in the same order, however the question is asked."""

from __future__ import annotations

import numpy as np

from prediction.scoring.data.row_cache import hash_texts
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.neighbours import to_unit_vectors
from prediction.scoring.serving.artefacts import ReferenceReport, ReferenceReports
from prediction.scoring.serving.similar_reports import SimilarReports

TEXTS = [
    "remise en état",
    "fuite d'huile",
    "Remise en état",
    "bruit anormal",
    "REMISE EN ÉTAT",
    "fuite d'huile",
]


def evidence() -> SimilarReports:
    rows: list[ReferenceReport] = [
        {"anomaly_id": str(n), "description": text, "date": ""} for n, text in enumerate(TEXTS)
    ]
    past = ReferenceReports(hash_texts(TEXTS), rows, np.full((len(TEXTS), 3), 2.0, np.float32))
    return SimilarReports(past, to_unit_vectors(encode_reports(rows)["sketch"]), model=None)


def find_similar(questions: list[str], count: int) -> list[list[str]]:
    encoded = encode_reports([{"description": text} for text in questions])
    return [[r["anomaly_id"] for r in found] for found in evidence().nearest(questions, encoded, count)]


def test_texts_that_cannot_be_told_apart_come_newest_first() -> None:
    assert find_similar(["remise en état"], 3) == [["4", "2", "0"]]
    assert find_similar(["remise en état"], 2) == [["4", "2"]]
    assert find_similar(["fuite d'huile"], 2) == [["5", "1"]]


def test_one_question_and_many_find_the_same() -> None:
    asked = [*TEXTS, "fuite", "bruit", "état"]
    assert find_similar(asked, 4) == [find_similar([text], 4)[0] for text in asked]


def test_fewer_reports_than_asked_for() -> None:
    assert len(find_similar(["fuite"], 50)[0]) == len(TEXTS)
