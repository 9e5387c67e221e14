"""Reports go into the plant's files and come back, byte for byte, and can be taken out again."""

import hashlib
import json
import os
import re
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import Conflict, DataFileInvalid, InvalidContent
from storage.anomaly_reports.csv_store import FILES, CsvStore, format_stored_time, hash_record
from storage.anomaly_reports.reports import SCORES
from storage.filesystem.append import append_bytes
from tests.storage.conftest import HEADERS, record, write_plant


@pytest.fixture(autouse=True, scope="module")
def swift_disk():
    """Nothing here is about power cuts: no need to wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def store(tmp_path):
    write_plant(tmp_path / "data")
    return CsvStore(tmp_path / "data")


def put(store, records, session_id=1, **options):
    """Append as the journal does."""
    for append in store.plan_append(records, session_id, **options):
        append_bytes(store.data_dir.parent / append.path, append.old_size, append.text.encode())


def take_out(store, session_id):
    home = store.data_dir.parent
    for move in store.plan_removal(session_id, home / "staging").moves:
        (home / move.source).rename(home / move.target)


def contents(store):
    return {file.name: file.read_bytes() if file.exists() else None for file in store.files()}


def test_the_files_are_named_as_the_plant_names_them(store):
    names = [file.name for file in store.files()]
    own = ["anomaly_ids.csv", "quarantine.csv", "undone_ids.csv", "anomaly_raters.csv"]
    assert names == ["disponibilite.csv", "fiabilite.csv", "process_safty.csv", *own]


def test_reports_are_read_in_the_order_of_arrival(store):
    put(store, [record(1), record(2)])
    reports = store.read()
    assert len(reports) == 5
    assert reports.description[:2] == ["Texte 0", "Texte 1"]
    assert reports.description[3:] == ["fuite d'huile n° 1", "fuite d'huile n° 2"]
    assert reports.scores["availability"] == [1, 2, 3, 2, 3]
    assert reports.scores["fiability"][3:] == [2.5, 2.5]
    assert reports.anomaly_ids == [None, None, None, "A-1", "A-2"]
    assert reports.is_new == [False] * 5


def test_pending_records_come_last_and_are_new(store):
    reports = store.read([record(7)])
    assert reports.is_new == [False, False, False, True]
    assert (reports.anomaly_ids[-1], reports.scores["process_safety"][-1]) == ("A-7", 5.0)


def test_a_fresh_plant_gets_its_files_with_headers(tmp_path):
    store = CsvStore(tmp_path / "data")
    store.data_dir.mkdir()
    assert len(store.read()) == 0
    put(store, [record(1)])
    assert (store.data_dir / "disponibilite.csv").read_text().splitlines() == [
        HEADERS["availability"],
        "eq-1,S1,fuite d'huile n° 1,2024-12-05 14:30:01,Pompe,34MC,2",
    ]
    assert store.read().anomaly_ids == ["A-1"]


def test_existing_bytes_are_never_rewritten(store):
    before = contents(store)
    for session in range(5):
        put(store, [record(session)], session)
    for name, content in before.items():
        assert content is None or (store.data_dir / name).read_bytes().startswith(content)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_files_keep_their_line_ends(tmp_path, ending):
    write_plant(tmp_path / "data", ending=ending)
    store = CsvStore(tmp_path / "data")
    put(store, [record(1)])
    lines = (tmp_path / "data" / "fiabilite.csv").read_bytes().splitlines(keepends=True)
    assert {line[-2:] == b"\r\n" for line in lines} == {ending == "\r\n"}


def test_whole_scores_have_no_point(store):
    put(store, [record(1, availability_score=3.0, fiability_score=1, process_safety_score=4.25)])
    last = [file.read_text().splitlines()[-1].rpartition(",")[2] for file in store.files()[:3]]
    assert last == ["3", "1", "4.25"]


# As a French Excel keeps them


def french(store):
    """Return the plant's files as “CSV UTF-8” of a French Excel: semicolons, days first, commas in numbers."""
    for file in store.files()[:3]:
        header, *lines = file.read_text().splitlines()
        cells = [line.split(",") for line in lines]
        told = [[*c[:3], "05/12/2024 14:3" + str(n), *c[4:6], c[6] + ",5"] for n, c in enumerate(cells)]
        text = "".join(";".join(row) + "\r\n" for row in [header.split(","), *told])
        file.write_bytes(b"\xef\xbb\xbf" + text.encode())


def test_french_files_are_read_and_appended_to_in_their_own_manner(store):
    french(store)
    before = contents(store)
    assert store.read().detected_at == [f"2024-12-05 14:3{n}:00" for n in range(3)]
    assert store.read().scores["availability"] == [1.5, 2.5, 3.5]
    put(store, [record(1, description="fuite; forte, n° 1", fiability_score=2.5)], 7)
    for name in FILES.values():
        assert (store.data_dir / name).read_bytes().startswith(before[name])
    appended = (store.data_dir / "fiabilite.csv").read_bytes().removeprefix(before["fiabilite.csv"]).decode()
    assert appended == 'eq-1;S1;"fuite; forte, n° 1";05/12/2024 14:30:01;Pompe;34MC;2,5\r\n'
    reports = store.read()
    assert reports.anomaly_ids == [None, None, None, "A-1"]
    assert (reports.detected_at[-1], reports.scores["fiability"][-1]) == ("2024-12-05 14:30:01", 2.5)
    take_out(store, 7)
    assert {name: contents(store)[name] for name in FILES.values()} == {
        name: before[name] for name in FILES.values()
    }


def test_files_of_different_manners_still_hold_the_same_reports(store, tmp_path):
    write_plant(tmp_path / "data")
    file = store.data_dir / "fiabilite.csv"
    file.write_text(file.read_text().replace("2024-01-01 10:00:00", "01/01/2024 10:00").replace(",", ";"))
    assert len(store.read()) == 3
    assert store.read().scores["fiability"] == [1, 2, 3]


@pytest.mark.parametrize(
    "wrong", ["25/13/2024 10:00", "03/25/2024", "1/2/24", "32/01/2024", "05.13.2024", "hier"]
)
def test_the_first_line_with_a_wrong_date_is_named(tmp_path, wrong):
    write_plant(tmp_path / "data", rows=9)
    file = tmp_path / "data" / "disponibilite.csv"
    lines = file.read_text().replace(",", ";").splitlines(keepends=True)
    for number in (8, 5, 3):  # in place 3 first
        lines[number] = re.sub("2024[^;]*", f"{wrong}{number if wrong == 'hier' else ''}", lines[number])
    file.write_text("".join(lines))
    with pytest.raises(DataFileInvalid, match=r"disponibilite.csv, line 4: .*day first"):
        CsvStore(tmp_path / "data").read()


def test_the_first_line_with_a_wrong_score_is_named(tmp_path):
    write_plant(tmp_path / "data", rows=9)
    with pytest.raises(DataFileInvalid, match="line 7: Disponibilté is '6' instead of"):
        CsvStore(tmp_path / "data").read()


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("process_safety.csv", "process_safty.csv"),
        ("Process Safety.CSV", "process_safty.csv"),
        ("Disponibilité.csv", "disponibilite.csv"),
        ("availability.csv", "disponibilite.csv"),
    ],
)
def test_a_file_of_nearly_the_right_name_is_named(tmp_path, found, wanted):
    write_plant(tmp_path / "data")
    (tmp_path / "data" / wanted).rename(tmp_path / "data" / found)
    store = CsvStore(tmp_path / "data")
    for look in (store.read, store.check):
        with pytest.raises(DataFileInvalid) as refusal:
            look()
        assert refusal.value.message == f"found {found}; the file must be called {wanted}"


def test_a_plant_that_spells_its_columns_well_is_understood(store):
    file = store.data_dir / "disponibilite.csv"
    file.write_text(
        file.read_text().replace("Disponibilté", "Disponibilité").replace("détéction", "détection")
    )
    before = file.read_text()
    put(store, [record(1)])
    assert store.read().scores["availability"] == [1, 2, 3, 2]
    assert file.read_text().startswith(before)


# Corrections


def test_of_a_corrected_report_only_the_newest_content_is_read_and_both_stay_stored(store):
    put(store, [record(1, availability_score=2)], 1)
    put(store, [record(1, availability_score=4)], 2)
    reports = store.read()
    assert reports.anomaly_ids.count("A-1") == 1
    assert reports.scores["availability"][-1] == 4
    assert len((store.data_dir / "disponibilite.csv").read_text().splitlines()) == 6


def test_a_pending_correction_takes_the_place_of_the_stored_content(store):
    put(store, [record(1), record(2)])
    reports = store.read([record(1, availability_score=5)])
    assert reports.anomaly_ids[-2:] == ["A-2", "A-1"]
    assert len(reports) == 5


def test_a_correction_back_to_the_first_content_is_the_newest_again(store):
    for session, score in enumerate([2, 4, 2], start=1):
        put(store, [record(1, availability_score=score)], session)
    reports = store.read()
    assert (reports.anomaly_ids.count("A-1"), reports.scores["availability"][-1]) == (1, 2)


def test_equal_reports_with_two_ids_both_count(store):
    same = {"description": "même texte", "detected_at": "2024-12-05 14:30:00", "equipment_id": "e"}
    put(store, [record(1, **same, availability_score=2), record(2, **same, availability_score=2)])
    assert store.read().anomaly_ids[-2:] == ["A-1", "A-2"]


def test_a_row_that_was_there_before_is_not_taken_for_an_equal_one_with_an_id(store):
    """The ids count from the end: Millwright appends after what the plant had."""
    put(store, [record(1)])
    (store.data_dir / "anomaly_ids.csv").unlink()
    put(store, [record(1)])
    assert store.read().anomaly_ids[-2:] == [None, "A-1"]


def test_known_ids_tell_a_repeat_from_a_correction(store):
    sent = record(1)
    put(store, [sent])
    assert store.record_hashes().newest == {"A-1": hash_record(sent)}
    assert hash_record(sent | {"anomaly_id": "other"}) == hash_record(sent)
    assert hash_record(sent | {"availability_score": 2.0}) == hash_record(sent | {"availability_score": 2})
    assert hash_record(sent | {"system": ""}) == hash_record({k: v for k, v in sent.items() if k != "system"})
    assert hash_record(sent | {"availability_score": 5}) != hash_record(sent)


def test_the_hash_taken_before_defaults_were_filled_in_is_the_one_that_is_kept(store):
    put(store, [record(1, record_sha256="0" * 64)])
    assert store.record_hashes().newest == {"A-1": "0" * 64}


# Taking a session out


def test_taking_the_last_session_out_gives_the_bytes_of_before(store):
    put(store, [record(1)], 1)
    before = contents(store)
    put(
        store,
        [record(2), record(3, description='deux\nlignes, "citées"'), record(1, availability_score=5)],
        2,
    )
    take_out(store, 2)
    assert contents(store) | {"undone_ids.csv": None} == before


def test_superseded_and_undone_content_is_remembered(store):
    first, second = record(1, availability_score=2), record(1, availability_score=4)
    put(store, [first], 1)
    put(store, [second], 2)
    assert store.record_hashes().all == {"A-1": {hash_record(first), hash_record(second)}}
    take_out(store, 2)
    put(store, [record(2)], 3)
    take_out(store, 3)
    assert store.record_hashes().newest == {"A-1": hash_record(first)}
    assert store.record_hashes().all == {
        "A-1": {hash_record(first), hash_record(second)},
        "A-2": {hash_record(record(2))},
    }


def test_later_sessions_stay(store):
    put(store, [record(1), record(2)], 1)
    put(store, [record(3)], 2)
    take_out(store, 1)
    assert store.read().anomaly_ids[-1] == "A-3"
    assert set(store.record_hashes().newest) == {"A-3"}
    assert len(store.read()) == 4


def test_taking_a_correction_out_brings_the_first_content_back(store):
    put(store, [record(1, availability_score=2)], 1)
    put(store, [record(1, availability_score=4)], 2)
    take_out(store, 2)
    assert store.read().scores["availability"][-1] == 2


# Quarantine


def release(store, session_id):
    home = store.data_dir.parent
    for move in store.plan_release(session_id, home / "staging"):
        (home / move.source).rename(home / move.target)


def test_quarantined_rows_stay_in_the_files_and_are_not_read(store):
    put(store, [record(1)], 1)
    put(store, [record(2), record(3)], 2, quarantined=True)
    assert store.read().anomaly_ids == [None, None, None, "A-1"]
    assert store.read([record(4)]).anomaly_ids[-2:] == ["A-1", "A-4"]
    assert "n° 3" in (store.data_dir / "fiabilite.csv").read_text()
    assert [batch[:2] for batch in store.list_quarantined()] == [(2, 2)]


def test_a_quarantined_correction_leaves_what_was_known_before(store):
    put(store, [record(1, availability_score=2)], 1)
    put(store, [record(1, availability_score=5)], 2, quarantined=True)
    assert store.read().scores["availability"][-1] == 2


def test_a_quarantined_record_that_is_corrected_counts_and_waits_no_more(store):
    put(store, [record(1), record(2)], 1, quarantined=True)
    put(store, [record(1, availability_score=5)], 2)
    assert store.read().anomaly_ids == [None, None, None, "A-1"]
    assert store.read().scores["availability"][-1] == 5
    assert [batch[:2] for batch in store.list_quarantined()] == [(1, 1)]


def test_an_accepted_session_is_read(store):
    put(store, [record(1)], 1, quarantined=True)
    put(store, [record(2)], 2, quarantined=True)
    staging = store.data_dir.parent / "preview"
    store.plan_release(1, staging)
    assert CsvStore(store.data_dir, staged=staging).read().anomaly_ids == [None, None, None, "A-1"]
    assert store.read().anomaly_ids == [None, None, None]
    release(store, 1)
    assert store.read().anomaly_ids == [None, None, None, "A-1"]
    assert store.read().session_ids[-1] == 1
    assert [batch[0] for batch in store.list_quarantined()] == [2]
    with pytest.raises(Conflict, match="session 1"):
        store.plan_release(1, store.data_dir / "staging")


def test_taking_a_quarantined_session_out_takes_its_mark_out(store):
    put(store, [record(9)], 1)
    before = contents(store)
    put(store, [record(1)], 2, quarantined=True)
    take_out(store, 2)
    assert store.list_quarantined() == []
    assert {**contents(store), "quarantine.csv": None, "undone_ids.csv": None} == before


# Raters


def test_raters_stand_beside_the_files_of_the_plant(store):
    scored = [record(1, rater="m.dupont", source="GMAO"), record(2), record(3, rater='A, "B"')]
    put(store, scored, 1)
    reports = store.read([record(4, rater="j.martin")])
    assert reports.raters == ["", "", "", "m.dupont", "", 'A, "B"', "j.martin"]
    assert reports.sources == ["", "", "", "GMAO", "", "", ""]
    marked = contents(store).pop("anomaly_raters.csv")
    assert marked == b'session_id,anomaly_id,rater,source\n1,A-1,m.dupont,GMAO\n1,A-3,"A, ""B""",\n'
    plain = {file: (store.data_dir / file).read_bytes() for file in FILES.values()}
    assert not any(b"dupont" in content or b"GMAO" in content for content in plain.values())


def test_records_without_raters_make_no_file_of_raters(store):
    put(store, [record(1)], 1)
    assert contents(store)["anomaly_raters.csv"] is None
    assert store.read().raters == [""] * 4


def test_a_correction_brings_its_rater_and_taking_it_out_brings_the_first_one_back(store):
    put(store, [record(1, rater="first"), record(2, rater="other")], 1)
    before = contents(store)
    put(store, [record(1, rater="second", availability_score=4)], 2)
    assert store.read().raters[-2:] == ["other", "second"]
    take_out(store, 2)
    assert store.read().raters[-2:] == ["first", "other"]
    assert {**contents(store), "undone_ids.csv": None} == before


def test_raters_of_quarantined_records_wait_with_them(store):
    put(store, [record(1, rater="first")], 1)
    put(store, [record(2, rater="second")], 2, quarantined=True)
    current, waiting = store.read_with_quarantined()
    assert (current.raters[-1], waiting.raters) == ("first", ["second"])


def test_the_hash_of_a_record_without_a_rater_is_that_of_earlier_versions():
    assert hash_record(record(1)) == hash_record(record(1, rater=""))
    assert hash_record(record(1, rater="m.dupont")) != hash_record(record(1))


def test_a_session_without_records_cannot_be_taken_out(store):
    with pytest.raises(Conflict):
        store.plan_removal(7, store.data_dir / "staging")


# As a spreadsheet leaves them


def save_in_excel(file):
    """Save a file as an Excel with semicolons does: byte order mark, no seconds, other number formats."""
    saved = re.sub(r"(\d{4})-(\d\d)-(\d\d) (\d\d:\d\d):\d\d", r"\3/\2/\1 \4", file.read_text())
    saved = saved.replace("2.5", "2,50").replace("eq-00", "eq-00 ").replace(",", ";").replace("2;50", "2,50")
    file.write_bytes(b"\xef\xbb\xbf" + saved.replace("\n", "\r\n").encode())


@pytest.mark.parametrize("saved", [slice(0, 3), slice(0, 1), slice(1, 3)], ids=["all", "first", "others"])
def test_after_excel_has_saved_the_files_a_session_can_still_be_taken_out(store, saved):
    put(store, [record(1, equipment_id="007"), record(2)], 1)
    put(store, [record(3)], 2)
    for file in store.files()[saved]:
        save_in_excel(file)
        file.write_text(file.read_text().replace("007", "7"))
    before = store.read()
    assert len(before) == 6
    assert before.anomaly_ids[3:] == ["A-1", "A-2", "A-3"]
    assert None not in before.scores["availability"] + before.scores["process_safety"]
    take_out(store, 1)
    assert store.read().anomaly_ids == [None, None, None, "A-3"]
    assert "n° 1" not in "".join(file.read_text() for file in store.files()[:3])


def test_records_of_version_0_1_are_recognised_in_saved_files_after_the_upgrade(store):
    put(store, [record(1), record(2)], 1)
    put(store, [record(3)], 2)
    ids = store.data_dir / "anomaly_ids.csv"
    ids.write_text(re.sub("/[0-9a-f]{64}", "", ids.read_text()))
    edit(store, "n° 2", "n° zwei")
    assert store.needs_upgrade()
    for move in store.plan_upgrade(store.data_dir.parent / "staging"):
        (store.home / move.source).replace(store.home / move.target)
    assert not store.needs_upgrade()
    assert len(store.record_hashes().newest) == 3
    for file in store.files()[:3]:
        save_in_excel(file)
    assert store.read().anomaly_ids[3:] == ["A-1", None, "A-3"], "what was edited before is not recognised"
    take_out(store, 2)
    assert set(store.record_hashes().newest) == {"A-1", "A-2"}


def test_what_is_not_recognised_is_told_and_nothing_else_is_claimed(store):
    put(store, [record(1), record(2)], 1)
    store.note_committed()
    edit(store, "n° 1", "n° eins")
    (note,) = store.plan_removal(1, store.data_dir.parent / "staging").notes
    assert note.startswith("1 of the 2 records of session 1 are not recognised")
    assert "A-1" in note
    assert any(note.startswith("1 of 2 records that came through Millwright") for note in store.check())
    take_out(store, 1)
    assert set(store.record_hashes().newest) == {"A-1"}
    with pytest.raises(Conflict, match="None of the 1 records of session 1 is recognised"):
        store.plan_removal(1, store.data_dir.parent / "staging")


def test_of_two_reports_in_one_minute_the_exact_one_is_taken_out(store):
    put(store, [record(1, description="Fuite", availability_score=2)], 1)
    twin = record(2, description="Fuite", availability_score=2, equipment_id="eq-1")
    put(store, [{**twin, "anomaly_id": None}], 2)
    take_out(store, 1)
    assert store.read().detected_at[-1].endswith(":02")


def edit(store, old, new):
    for file in store.files()[:3]:
        file.write_text(file.read_text().replace(old, new))


# Hand edits


def test_nothing_changed_is_nothing_to_say(store):
    assert store.check() == []
    put(store, [record(1)])
    store.note_committed()
    assert store.check() == []


def test_after_a_commit_only_the_appended_bytes_are_hashed_and_only_once(store, monkeypatch):
    store.note_committed()
    put(store, [record(1)])
    hashed = []

    class Sha256:
        def __init__(self, data):
            hashed.append(len(data))

        def hexdigest(self):
            return "0" * 64

    monkeypatch.setattr("storage.anomaly_reports.csv_fingerprints.hashlib", SimpleNamespace(sha256=Sha256))
    store.note_committed()
    store.note_committed()
    assert len(hashed) == 4
    assert max(hashed) < 250


def test_many_appends_are_still_recognised(store):
    for session in range(70):
        put(store, [record(session)], session)
        store.note_committed()
    for file in store.files()[:4]:
        os.utime(file, ns=(0, 0))
    assert store.check() == []
    file = store.data_dir / "fiabilite.csv"
    file.write_text(file.read_text().replace("Texte 0", "Texte O"))
    assert len(store.check()) == 1


def test_fingerprints_of_the_first_version_are_understood(store):
    old = {}
    for file in store.files():
        data = file.read_bytes() if file.exists() else None
        old[file.name] = data and {
            "size": len(data),
            "mtime_ns": 1,
            "sha256": hashlib.sha256(data).hexdigest(),
            "lines": data.count(b"\n"),
        }
    (store.data_dir / "csv_state.json").write_text(json.dumps(old))
    assert store.check() == []


def test_a_hand_edit_is_noticed_adopted_and_noticed_once(store):
    store.note_committed()
    file = store.data_dir / "fiabilite.csv"
    file.write_text(file.read_text() + "e9,s,à la main,2024-02-01 10:00:00,,34MC,4\n")
    assert [note.split(" was ")[0] for note in store.check()] == ["fiabilite.csv"]
    assert store.check() == []


def test_a_file_that_was_only_touched_is_not_a_change(store):
    store.note_committed()
    time.sleep(0.01)
    (store.data_dir / "fiabilite.csv").touch()
    assert store.check() == []


def test_a_file_that_was_removed_is_noticed(store):
    store.note_committed()
    (store.data_dir / "fiabilite.csv").unlink()
    assert store.check() == ["fiabilite.csv was removed by hand since the last training"]


def test_an_edit_that_cannot_be_read_is_refused_with_its_line_until_it_is_mended(store):
    store.note_committed()
    file = store.data_dir / "fiabilite.csv"
    good = file.read_text()
    file.write_text(good + "half a li")
    for _ in range(2):
        with pytest.raises(DataFileInvalid, match=r"fiabilite\.csv, line 5"):
            store.check()
    file.write_text(good)
    assert store.check() == []


@pytest.mark.parametrize("score", ["6", "0", "x", "2,5", "nan", "inf", "-1"])
def test_a_score_that_is_none_is_refused_with_its_line(store, score):
    file = store.data_dir / "fiabilite.csv"
    file.write_text(file.read_text() + f'e9,s,t,2024-02-01 10:00:00,,34MC,"{score}"\n')
    with pytest.raises(DataFileInvalid, match=r"fiabilite\.csv, line 5: Fiabilité"):
        store.read()


@pytest.mark.parametrize("date", ["01/02/2024 10:00", "yesterday", "2024-2-1"])
def test_a_date_that_is_none_is_refused_with_its_line(store, date):
    for name in FILES.values():
        file = store.data_dir / name
        file.write_text(file.read_text() + f"e9,s,t,{date},,34MC,2\n")
    with pytest.raises(DataFileInvalid, match=r"disponibilite\.csv, line 5"):
        store.read()


def test_where_the_files_disagree_rows_are_joined_by_what_they_say(store):
    lines = {name: (store.data_dir / name).read_text().splitlines(keepends=True) for name in FILES.values()}
    first, second, third = FILES.values()
    (store.data_dir / second).write_text("".join([lines[second][0], *lines[second][2:]]))
    (store.data_dir / third).write_text("".join([lines[third][0], *reversed(lines[third][1:])]))
    (store.data_dir / first).write_text("".join(lines[first][:-1]))
    reports = store.read()
    assert reports.description == ["Texte 0", "Texte 1", "Texte 2"]
    assert [reports.scores[score] for score in SCORES] == [[1, 2, None], [None, 2, 3], [1, 2, 3]]


def test_a_lost_file_leaves_its_scores_unknown(store):
    (store.data_dir / "process_safty.csv").unlink()
    assert store.read().scores["process_safety"] == [None, None, None]


def test_sessions_can_be_taken_out_of_files_that_disagree(store):
    put(store, [record(1)], 1)
    file = store.data_dir / "fiabilite.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    put(store, [record(2)], 2)
    take_out(store, 2)
    assert "A-2" not in store.read().anomaly_ids
    assert "n° 2" not in file.read_text()


# Dates


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2024-12-05T14:30:22Z", "2024-12-05 14:30:22"),
        ("2024-12-05T15:30:22.5+01:00", "2024-12-05 14:30:22"),
        ("2024-12-05 14:30:22", "2024-12-05 14:30:22"),
        ("2024-12-05", "2024-12-05 00:00:00"),
        ("0999-01-01", "0999-01-01 00:00:00"),
        ("", ""),
    ],
)
def test_instants_are_stored_in_utc(sent, stored):
    assert format_stored_time(sent) == stored


@pytest.mark.parametrize("sent", ["yesterday", "2024-13-01", "0001-01-01T00:00:00+23:59"])
def test_what_is_no_instant_is_refused(sent):
    with pytest.raises(InvalidContent):
        format_stored_time(sent)


# Whatever people write

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=15)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "anomaly_id": st.sampled_from("abcd") | TEXT.filter(bool),
            **dict.fromkeys(
                ("description", "equipment_name", "equipment_id", "system", "owner_section"), TEXT
            ),
            **{f"{score}_score": st.sampled_from([1, 2.5, 3, 5.0]) for score in SCORES},
            "detected_at": st.just("2024-12-05 14:30:22"),
        }
    ),
    max_size=4,
    unique_by=lambda sent: sent["anomaly_id"],
)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(RECORDS, max_size=4), undone=st.integers(0, 4))
def test_any_history_reads_as_the_newest_of_each_id_and_any_session_can_be_taken_out(
    tmp_path_factory, batches, undone
):
    store = CsvStore(tmp_path_factory.mktemp("home", numbered=True) / "data")
    write_plant(store.data_dir, rows=2)
    for session, batch in enumerate(batches):
        put(store, batch, session)
    if undone < len(batches) and batches[undone]:
        take_out(store, undone)
        batches = [*batches[:undone], *batches[undone + 1 :]]
    newest = {sent["anomaly_id"]: sent for batch in batches for sent in batch}
    reports = store.read()
    told = zip(reports.description, reports.equipment_id, *reports.scores.values(), strict=True)
    found = {name: row for name, row in zip(reports.anomaly_ids, told, strict=True) if name is not None}
    fields = ("description", "equipment_id", *(f"{score}_score" for score in SCORES))
    assert found == {name: tuple(sent[field] for field in fields) for name, sent in newest.items()}
    assert len(reports) == 2 + len(newest)


def test_strings_that_broke_others_come_back_byte_for_byte(store):
    """Quotes, separators, directions, zero widths, other planes, markup, formulas, terminal codes."""
    naughty = [
        *('"', "''", ",", "\n", "\r", "\r\n", "\t", "\x0b\x0c\x1c\x1d\x1e\x85", "\u2028\u2029", "\ufeff"),
        *("\u200b", "\u202e", "\U0001f469\u200d\U0001f52c", "\U00020000", "Ａ", "ﬃ", "é", "e\u0301", "Z̮̞̠͙͔ͅḀ̗̞͈̻̗"),
        *("<script>alert(1)</script>", "=1+1", "+1", "-1", "@x", "\x1b[31m", "\x7f\x80", "../../etc/passwd"),
        *("NULL", "nan", "1e400", " leading", "trailing ", '"a","b"', "a\\nb", "\\", "%00", "x" * 2000),
        "\ud7ff\ue000\uffff\U0010ffff",
    ]
    records = [
        record(n, description=text, equipment_name=text, anomaly_id=f"{n}{text}")
        for n, text in enumerate(naughty)
    ]
    put(store, records)
    reports = store.read()
    assert reports.description[3:] == naughty
    assert reports.equipment_name[3:] == naughty
    assert reports.anomaly_ids[3:] == [sent["anomaly_id"] for sent in records]
    before = contents(store)
    put(store, [record(999)], 2)
    take_out(store, 2)
    assert {**contents(store), "undone_ids.csv": None} == before


def test_a_missing_file_beside_the_others_is_named_until_it_is_back(store):
    put(store, [record(1)])
    store.note_committed()
    assert store.check(adopt=False) == []
    moved = (store.data_dir / "disponibilite.csv").rename(store.data_dir.parent / "moved.csv")
    assert store.check(adopt=False) == ["disponibilite.csv is missing: put it back, or restore a backup"]
    moved.rename(store.data_dir / "disponibilite.csv")
    assert store.check(adopt=False) == []


def test_no_file_is_missed_before_the_first_report(tmp_path):
    (tmp_path / "data").mkdir()
    assert CsvStore(tmp_path / "data").check(adopt=False) == []
