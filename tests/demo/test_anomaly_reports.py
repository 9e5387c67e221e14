"""The shipped demo data is what its generator makes, and looks like a plant's."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from demo.anomaly_reports import (
    DEMO_FOLDER,
    SCORE_COLUMNS,
    demo_records,
    generate,
    install_demo_reports,
    write_csv,
)
from prediction.scoring.requests.record_validation import parse_scored_reports


def test_the_shipped_files_are_generated(tmp_path: Path) -> None:
    write_csv(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        p.name: p.read_bytes() for p in DEMO_FOLDER.iterdir()
    }


def test_scores_are_skewed_like_real_ones_and_hang_on_the_finding() -> None:
    reports = generate()
    ones = Counter(report.availability for report in reports)[1] / len(reports)
    leaks = [r.availability for r in reports if "tube" in r.description.lower()]
    paint = [r.availability for r in reports if "peinture" in r.description.lower()]
    assert 0.4 < ones < 0.6
    assert min(leaks) > max(paint)


def test_an_empty_folder_is_filled_once(tmp_path: Path) -> None:
    assert install_demo_reports(tmp_path / "data")
    assert not install_demo_reports(tmp_path / "data")
    with (tmp_path / "data" / "fiabilite.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 400
    assert {row["Fiabilité Intégrité"] for row in rows} <= set("12345")


def test_a_folder_with_the_plants_own_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "disponibilite.csv").write_text("mine\n")
    assert not install_demo_reports(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["disponibilite.csv"]
    assert len(SCORE_COLUMNS) == 3


def test_fresh_reports_are_accepted_by_the_server() -> None:
    assert len(parse_scored_reports(demo_records(25, seed=7)).records) == 25
    assert demo_records(3, seed=1) == demo_records(3, seed=1) != demo_records(3, seed=2)
