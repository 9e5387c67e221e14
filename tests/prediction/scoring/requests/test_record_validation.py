"""What the scoring family accepts, and how it names what it does not."""

import pytest

from errors import InvalidRecords
from prediction.scoring.requests.record_validation import parse_reports, parse_scored_reports


def record(**changes):
    sent = {
        "anomaly_id": "ANO-1",
        "description": "Fuite d'huile au palier côté moteur",
        "equipment_name": "Pompe alimentaire A",
        "equipment_id": "7d34d01e",
        "availability_score": 3,
        "fiability_score": 2.5,
        "process_safety_score": 1,
    }
    return {name: value for name, value in (sent | changes).items() if value is not ...}


def sentences(*records):
    with pytest.raises(InvalidRecords) as caught:
        parse_scored_reports(list(records))
    return caught.value.body()["validation_errors"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"availability_score": 6}, "availability_score must be between 1 and 5, got 6"),
        ({"availability_score": 0.5}, "availability_score must be between 1 and 5, got 0.5"),
        ({"fiability_score": True}, "fiability_score must be a number, got true"),
        ({"fiability_score": "3"}, 'fiability_score must be a number, got "3"'),
        ({"process_safety_score": [3]}, "process_safety_score must be a number, got an array"),
        ({"equipment_id": ...}, "Missing required fields: ['equipment_id']"),
        ({"equipment_id": None}, "Missing required fields: ['equipment_id']"),
        ({"equipment_id": " "}, "equipment_id must not be blank"),
        (
            {"equipment_id": "#N/A"},
            "equipment_id '#N/A' stands for an empty cell: write what it is, or leave the record out",
        ),
        (
            {"description": " NaN"},
            "description 'NaN' stands for an empty cell: write what it is, or leave the record out",
        ),
        ({"anomaly_id": 17}, "anomaly_id must be a string, got 17"),
        ({"description": "x" * 2001}, "description must be at most 2000 characters, got 2001"),
        ({"equipment_name": "x" * 256}, "equipment_name must be at most 255 characters, got 256"),
        ({"owner_section": "x" * 256}, "owner_section must be at most 255 characters, got 256"),
        ({"description": "a\0b"}, "description must not contain NUL characters"),
        ({"description": "a\ud800b"}, "description contains a lone surrogate, which is not a character"),
        (
            {"detected_at": "yesterday"},
            'detected_at must be a date and time such as 2024-12-05T14:30:22Z, got "yesterday"',
        ),
    ],
)
def test_a_fault_is_named_in_plain_words(change, sentence):
    assert sentences(record(**change)) == [f"Record 1: {sentence}"]


@pytest.mark.parametrize("shortened", ["1.23457E+12", "1,23457e+12", " 1E+15"])
def test_an_id_that_a_spreadsheet_has_shortened_is_refused(shortened):
    (sentence,) = sentences(record(anomaly_id=shortened))
    assert "is a number that a spreadsheet has shortened" in sentence
    assert sentence.endswith("format its column as text and export the table again")


def test_ids_that_differ_in_blanks_only_are_not_taken_for_two_reports_or_one():
    (sentence,) = sentences(record(anomaly_id="ANO 1"), record(anomaly_id="ANO 1 ", description="Autre"))
    assert sentence == (
        "Record 2: anomaly_id 'ANO 1 ' differs from 'ANO 1' of record 1 in blanks only; give one report one id"
    )


def test_every_fault_is_named_at_once():
    assert sentences(record(availability_score=6), record(equipment_id=..., fiability_score=0)) == [
        "Record 1: availability_score must be between 1 and 5, got 6",
        "Record 2: Missing required fields: ['equipment_id']",
        "Record 2: fiability_score must be between 1 and 5, got 0",
    ]


@pytest.mark.parametrize(("raw", "value", "word"), [(None, None, "null"), ({}, "an object", "an object")])
def test_what_is_no_array_is_told_in_the_words_of_json(raw, value, word):
    with pytest.raises(InvalidRecords) as refusal:
        parse_scored_reports(raw)
    (fault,) = refusal.value.facts["errors"]
    assert fault["value"] == value
    assert refusal.value.facts["validation_errors"] == [
        f"Expected an array of 1 to 1,000 records, got {word}"
    ]


@pytest.mark.parametrize("raw", [None, 3, "text", {"anomaly_id": "A"}, []])
def test_anything_but_a_filled_array_is_refused(raw):
    with pytest.raises(InvalidRecords):
        parse_scored_reports(raw)


def test_more_than_a_thousand_records_is_one_sentence():
    assert sentences(*[record()] * 1001) == ["At most 1,000 records are accepted at once, got 1,001"]


def test_a_word_for_an_empty_cell_is_no_text_where_a_text_may_be_empty():
    (stored,) = parse_scored_reports([record(equipment_name="#N/A", system="NaN", rater=" null")]).records
    assert (stored["equipment_name"], stored["system"], stored["rater"]) == ("", "", "")


def test_the_equipment_name_alone_may_be_blank():
    assert parse_scored_reports([record(equipment_name="")]).records[0]["equipment_name"] == ""


def test_a_short_description_and_an_odd_score_are_only_warned_about():
    warnings = parse_scored_reports([record(fiability_score=2.37)]).warnings
    assert "Record 1: description has 6 words" in warnings[0]
    assert "fiability_score 2.37 is unusual" in warnings[1]


def test_an_id_used_twice_is_told_beside_every_other_fault():
    assert sentences(record(), record(fiability_score=4), record(anomaly_id="ANO-2", fiability_score=6)) == [
        "Record 2: anomaly_id 'ANO-1' was already used by record 1 with other content",
        "Record 3: fiability_score must be between 1 and 5, got 6",
    ]


def test_one_word_is_one_word():
    assert "description has 1 word;" in parse_scored_reports([record(description="Fuite")]).warnings[0]


def test_an_id_used_twice_with_other_content_is_refused_and_with_equal_content_is_not():
    assert sentences(record(), record(fiability_score=4)) == [
        "Record 2: anomaly_id 'ANO-1' was already used by record 1 with other content"
    ]
    assert len(parse_scored_reports([record(), record()]).records) == 2


def test_the_digest_tells_a_repeat_from_a_correction():
    def digest(**changes):
        return parse_scored_reports([record(**changes)]).records[0]["record_sha256"]

    assert digest() == digest() == digest(anomaly_id="ANO-2")
    assert digest() != digest(availability_score=4)
    assert digest(availability_score=3) == digest(availability_score=3.0)


def test_unknown_fields_are_ignored_and_listed():
    assert parse_scored_reports([record(priority="high", shift=2)]).ignored_fields == ["priority", "shift"]


def test_a_scored_record_may_name_its_rater_and_its_source():
    batch = parse_scored_reports([record(rater="m.dupont", source="GMAO"), record(anomaly_id="ANO-2")])
    assert [(r["rater"], r["source"]) for r in batch.records] == [("m.dupont", "GMAO"), ("", "")]
    assert batch.ignored_fields == []
    assert sentences(record(rater=7)) == ["Record 1: rater must be a string, got 7"]


def test_a_rater_sent_to_a_prediction_is_ignored_and_listed():
    assert parse_reports([record(rater=7)]).ignored_fields[-1] == "rater"


def test_a_prediction_needs_a_description_only():
    batch = parse_reports({"description": "vibration palier"})
    assert batch.records[0] == {
        "anomaly_id": "",
        "description": "vibration palier",
        "equipment_name": "",
        "equipment_id": "",
        "system": "",
        "owner_section": "",
        "source": "",
        "detected_at": "",
    }
    with pytest.raises(InvalidRecords):
        parse_reports([{"equipment_id": "7d34d01e"}])


def test_scores_sent_to_a_prediction_are_ignored_and_listed():
    assert "availability_score" in parse_reports([record()]).ignored_fields


def test_times_are_stored_in_utc():
    def stored(time):
        return parse_scored_reports([record(detected_at=time)]).records[0]["detected_at"]

    assert stored("2024-12-05T14:30:22+01:00") == "2024-12-05 13:30:22"
    assert stored(" 2024-12-05 14:30:22") == "2024-12-05 14:30:22"
    assert stored("2024-12-05") == "2024-12-05 00:00:00"
    assert "detected_at must be" in sentences(record(detected_at="0001-01-01T00:00:00+14:00"))[0]


def test_hashes_of_the_first_version_stay_the_same():
    """A home of version 0.1 holds this hash: another one would take every repeat for a correction."""
    sent = {
        "anomaly_id": "A-1",
        "description": "Fuite à la pompe",
        "equipment_name": "",
        "equipment_id": "P-1",
        "availability_score": 3,
        "fiability_score": 2.5,
        "process_safety_score": 1,
        "detected_at": "2024-12-05T14:30:22+01:00",
        "system": "S",
    }
    expected = "ad4438c6b14c131923d0c31b15a9e80ba28e0f9be8b77413411db7beff3a0924"
    assert parse_scored_reports([sent]).records[0]["record_sha256"] == expected
