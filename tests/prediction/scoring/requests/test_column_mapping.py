"""Rows of a plant's own tables are understood by what their columns are called, as people call them."""

from __future__ import annotations

import pytest

from prediction.records.parsing import TableRows
from prediction.scoring.requests.column_mapping import map_row
from prediction.scoring.requests.parser import ScoringRequestParser
from settings import PROJECT

SCORED = {
    "anomaly_id": "A-1",
    "Num_equipement": "P-1",
    "Systeme": "S",
    "Description": "Fuite à la pompe",
    "Date de détéction de l'anomalie": "05/12/2024 14:30",
    "Description de l'équipement": "Pompe",
    "Section propriétaire": "34MC",
    "Disponibilté": "3",
    "Fiabilité Intégrité": "2,5",
    "Process Safety": "1",
}


def test_a_row_of_the_plants_own_files_is_a_record() -> None:
    assert map_row(SCORED) == {
        "anomaly_id": "A-1",
        "equipment_id": "P-1",
        "system": "S",
        "description": "Fuite à la pompe",
        "detected_at": "2024-12-05 14:30:00",
        "equipment_name": "Pompe",
        "owner_section": "34MC",
        "availability_score": 3.0,
        "fiability_score": 2.5,
        "process_safety_score": 1.0,
    }


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("DESCRIPTION", "description"),
        ("description de l’equipement", "equipment_name"),
        ("Disponibilité", "availability_score"),
        ("disponibilite", "availability_score"),
        ("FIABILITE INTEGRITE", "fiability_score"),
        ("Process safty", "process_safety_score"),
        ("Equipment ID", "equipment_id"),
        ("Anomaly_Id", "anomaly_id"),
        ("couleur", "couleur"),
    ],
)
def test_columns_are_known_in_any_case_with_or_without_accents(column: str, field: str) -> None:
    assert [*map_row({column: "1"})] == [field]


def test_of_two_names_for_one_field_the_apis_own_counts() -> None:
    assert map_row({"Systeme": "a", "system": "b"}) == {"Systeme": "a", "system": "b"}


def test_a_date_in_the_apis_own_field_is_never_guessed() -> None:
    assert map_row({"detected_at": "05/12/2024"}) == {"detected_at": "05/12/2024"}


@pytest.mark.parametrize("text", ["nan", "inf", "trois"])
def test_a_score_that_is_no_number_stays_a_text(text: str) -> None:
    assert map_row({"Process Safety": text}) == {"process_safety_score": text}


def test_only_rows_of_a_table_are_renamed() -> None:
    parser = ScoringRequestParser()
    assert parser.parse_records(TableRows([SCORED])).records[0]["fiability_score"] == 2.5
    assert parser.parse_inputs(TableRows([SCORED])).records[0]["equipment_name"] == "Pompe"
    batch = parser.parse_inputs([{"description": "Fuite", "Systeme": "S"}])
    assert batch.ignored_fields == ["Systeme"]


def test_the_demo_files_are_understood() -> None:
    header = (PROJECT / "data/demo/disponibilite.csv").read_text("utf-8").splitlines()[0].split(",")
    assert None not in map_row(dict.fromkeys(header, "1")).values()
    assert "availability_score" in map_row(dict.fromkeys(header, "1"))
