"""Files that a spreadsheet has saved: a session is taken out of them, or one sentence says what cannot be read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errors import DataFileInvalid
from storage.anomaly_reports.csv_store import CsvStore
from storage.filesystem.append import append_bytes
from storage.journal_steps import Move
from tests.storage.conftest import record, write_plant

MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):\d\d")
Form = Callable[[str], str]


def to_us_moment(match: re.Match[str]) -> str:
    hour = int(match[4])
    return f"{int(match[2])}/{int(match[3])}/{match[1]} {hour % 12 or 12}:{match[5]} {'AM' if hour < 12 else 'PM'}"


def append_to_lines(text: str, end: str) -> str:
    return "".join(f"{line}{end}\n" for line in text.splitlines())


READ: dict[str, Form] = {
    "without seconds": lambda text: MOMENT.sub(r"\1-\2-\3 \4:\5", text),
    "German dates": lambda text: MOMENT.sub(r"\3.\2.\1 \4:\5", text),
    "French dates and semicolons": lambda text: MOMENT.sub(r"\3/\2/\1 \4:\5", text.replace(",", ";")),
    "trailing commas": lambda text: append_to_lines(text, ",,"),
    "trailing semicolons": lambda text: append_to_lines(text.replace(",", ";"), ";;"),
    "empty rows": lambda text: text + ",,,,,,\n,,,,,,\n",
    "white space": lambda text: text.replace(" n°", "  n°").replace("Pompe", " Pompe "),
    "hard spaces": lambda text: text.replace(" n°", "\u00a0n°"),
    "two decimals": lambda text: re.sub(
        r",(\d)(\.5)?$", lambda m: f",{m[1]}{m[2] or '.0'}0", text, flags=re.M
    ),
    "quotes": lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text),
    "headers in capitals": lambda text: text.split("\n", 1)[0].upper() + "\n" + text.split("\n", 1)[1],
}
REFUSED: dict[str, tuple[Form, str]] = {
    "ambiguous dates": (lambda text: MOMENT.sub(to_us_moment, text), r"line 3: .* may be two days"),
    "two digits of a year": (lambda text: MOMENT.sub("05/12/24 14:30", text), r"line 2: .* is not a date"),
    "numbers of days": (lambda text: MOMENT.sub("45631.604", text), r"line 2: .* is not a date"),
    "decimal commas in quotes": (
        lambda text: text.replace(",2.5", ',"2,5"'),
        "line 5: .* instead of a number",
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CsvStore]:
    """Return the files of a plant with two records of session 1 and one of session 2."""
    write_plant(tmp_path / "data")
    store = CsvStore(tmp_path / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        for session, records in ((1, [record(1), record(2)]), (2, [record(3)])):
            for append in store.plan_append(records, session):
                append_bytes(store.data_dir.parent / append.path, append.old_size, append.text.encode())
        yield store


def save(store: CsvStore, form: Form, is_marked: bool) -> None:
    """Save the three files in a form, with a byte order mark and Windows' line ends if marked."""
    for file in store.files()[:3]:
        text = form(file.read_text())
        file.write_bytes(
            b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() if is_marked else text.encode()
        )


def take_out(store: CsvStore, session_id: int) -> None:
    home = store.data_dir.parent
    for move in store.plan_removal(session_id, home / "staging").moves:
        assert isinstance(move, Move)
        (home / move.source).rename(home / move.target)


@pytest.mark.parametrize("is_marked", [False, True], ids=["plain", "with a mark"])
@pytest.mark.parametrize("form", READ)
def test_a_session_is_taken_out_of_saved_files(store: CsvStore, form: str, is_marked: bool) -> None:
    save(store, READ[form], is_marked)
    take_out(store, 1)
    assert store.read().anomaly_ids == [None, None, None, "A-3"]
    text = "".join(file.read_text() for file in store.files()[:3])
    assert not re.search(r"n° [12]\b", text)


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_read_is_told_with_its_line(store: CsvStore, form: str) -> None:
    change, sentence = REFUSED[form]
    save(store, change, is_marked=False)
    before = [file.read_bytes() for file in store.files()[:3]]
    with pytest.raises(DataFileInvalid, match=sentence):
        take_out(store, 1)
    assert [file.read_bytes() for file in store.files()[:3]] == before


def test_another_charset_is_told_with_the_way_out(store: CsvStore) -> None:
    for file in store.files()[:3]:
        file.write_bytes(file.read_text().encode("cp1252"))
    with pytest.raises(DataFileInvalid, match=r"line 1: it is not UTF-8 text .*save it as CSV UTF-8"):
        take_out(store, 1)
