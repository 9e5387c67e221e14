"""Bodies that two parsers could read differently are refused, quickly and with a reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from api.http.request_body import parse_csv
from api.http.strict_json import MAX_JSON_VALUES, parse_json
from errors import BodyTooLarge, InvalidContent, MalformedBody

MALFORMED = {
    "nothing": b"",
    "blanks": b" \n\t ",
    "a word": b"records",
    "a single quote": b"{'a': 1}",
    "no end": b'[{"a": 1}',
    "no begin": b'{"a": 1}]',
    "two documents": b"{} {}",
    "a comment": b"[1] // one",
    "a trailing comma": b"[1,]",
    "a leading comma": b"[,1]",
    "two commas": b"[1,,2]",
    "a comma in an object": b'{"a": 1,}',
    "a missing colon": b'{"a" 1}',
    "two colons": b'{"a":: 1}',
    "a bare key": b"{a: 1}",
    "a number as key": b"{1: 1}",
    "a missing value": b'{"a":}',
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b'{"a": -Infinity}',
    "-NaN": b"[-NaN]",
    "nan in small letters": b"[nan]",
    "1e400": b"[1e400]",
    "-1e400": b'[{"score": -1e400}]',
    "1e99999": b"[1e99999]",
    "a leading zero": b"[012]",
    "a plus": b"[+1]",
    "a lone minus": b"[-]",
    "a dot without digits": b"[1.]",
    "a dot in front": b"[.5]",
    "an exponent without digits": b"[1e]",
    "hexadecimal": b"[0x1F]",
    "a number with a letter": b"[1a]",
    "full-width digits": "[１]".encode(),
    "5,000 digits": b"[" + b"9" * 5_000 + b"]",
    "True": b"[True]",
    "None": b"[None]",
    "undefined": b"[undefined]",
    "a capital escape": b'["\\U0041"]',
    "an unknown escape": b'["\\x41"]',
    "half an escape": b'["\\u00"]',
    "a lone backslash": b'["\\"]',
    "an open string": b'["a]',
    "a raw tab": b'["a\tb"]',
    "a raw line break": b'["a\nb"]',
    "a raw NUL": b'["a\x00b"]',
    "a NUL outside": b"[1]\x00",
    "half a surrogate pair": b'["\\ud800"]',
    "the other half": b'["\\udc00"]',
    "a pair the wrong way round": b'["\\udc00\\ud800"]',
    "half a pair as key": b'{"\\ud800": 1}',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "invalid UTF-8": b'["\xff"]',
    "overlong UTF-8": b'["\xc0\xaf"]',
    "Latin-1": b'["\xe9"]',
    "UTF-16": '["é"]'.encode("utf-16"),
    "UTF-16 without mark": '["e"]'.encode("utf-16-le"),
    "UTF-32": '["é"]'.encode("utf-32"),
    "a mark in the middle": b'[\xef\xbb\xbf"a"]',
    "a no-break space": b"[1\xc2\xa0]",
    "a form feed": b"[\x0c1]",
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "a key twice, deep": b'[{"b": {"a": 1, "a": 1}}]',
    "33 levels": b"[" * 33 + b"]" * 33,
    "33 levels of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100,000 brackets": b"[" * 100_000,
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "50,000 objects deep": b'{"a":' * 50_000,
    "a pickle": b"\x80\x04K\x01.",
    "a gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "XML": b"<records/>",
    "a form": b"a=1&b=2",
}
FINE = {
    "an object": (b'{"a": 1}', {"a": 1}),
    "an array": (b"[]", []),
    "a scalar": (b"3.5", 3.5),
    "null": (b"null", None),
    "blanks around": (b" \r\n[1]\t", [1]),
    "a byte order mark": (b"\xef\xbb\xbf[1]", [1]),
    "accents": ('["é"]'.encode(), ["é"]),
    "an escaped pair": (b'["\\ud83d\\ude00"]', ["😀"]),
    "an emoji": ('["😀"]'.encode(), ["😀"]),
    "32 levels": (b"[" * 32 + b"]" * 32, None),
    "equal keys of two objects": (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "minus zero": (b"[-0]", [0]),
    "a tiny number": (b"[1e-400]", [0.0]),
    "a long integer": (b"[" + b"9" * 40 + b"]", [int("9" * 40)]),
    "an empty key": (b'{"": 1}', {"": 1}),
    "brackets in a string": (b'["' + b"[" * 100 + b'"]', ["[" * 100]),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_strict_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody) as refusal:
        parse_json(body)
    assert refusal.value.status == 400
    assert len(refusal.value.message) < 300


@pytest.mark.parametrize(("body", "expected"), FINE.values(), ids=FINE)
def test_json_is_read(body: bytes, expected: object) -> None:
    document = parse_json(body)
    assert document == expected if expected is not None else True


@pytest.mark.parametrize("body", [b'["a\\u0000b"]', b'{"\\u0000": 1}', b'[{"a": ["\\u0000"]}]'])
def test_nul_characters_are_json_that_cannot_be_stored(body: bytes) -> None:
    with pytest.raises(InvalidContent, match="NUL"):
        parse_json(body)


def test_a_flood_of_values_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.strict_json.decode_json", lambda text: pytest.fail("it was read"))
    with pytest.raises(BodyTooLarge):
        parse_json(b"[" + b"[]," * MAX_JSON_VALUES + b"1]")


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_checked_document_costs_little_more_than_a_plain_one(ascii_only: bool) -> None:
    record = {
        "anomaly_id": "A-1",
        "description": "Vibration élevée sur le palier côté commande, fuite d'huile constatée. " * 4,
        "equipment_name": "POMPE CENTRIFUGE",
        "equipment_id": "P-101",
        "system": "EAU",
    }
    body = json.dumps([record] * 6_000, ensure_ascii=ascii_only).encode()
    assert processor_time(lambda: parse_json(body)) < 4 * processor_time(lambda: json.loads(body))


def processor_time(work: Callable[[], object]) -> float:
    """Seconds of this thread, the least of fifteen: what else runs on this machine is not ours."""
    times = []
    for _ in range(15):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)


def test_many_equal_keys_are_named_in_linear_time() -> None:
    def refused(count: int) -> None:
        members = ", ".join(f'"k{number}": 1' for number in range(count))
        with pytest.raises(MalformedBody, match="k7"):
            parse_json(f'{{{members}, "k7": 2}}'.encode())

    assert processor_time(lambda: refused(100_000)) < 40 * processor_time(lambda: refused(10_000))


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_rows_become_objects(delimiter: str, line_end: str, mark: str) -> None:
    lines = ["description|equipment_id", '"a, b; c"|P-1', '"two\nlines"|"say ""x"""', ""]
    text = mark + line_end.join(lines).replace("|", delimiter)
    rows = parse_csv(text.encode())
    assert [row["equipment_id"] for row in rows] == ["P-1", 'say "x"']
    assert rows[0]["description"] == "a, b; c"


def test_a_csv_row_ends_at_line_ends_only() -> None:
    assert parse_csv("description\na\u2028b\x0bc\n".encode()) == [{"description": "a\u2028b\x0bc"}]


CSV_FAULTS = {
    "nothing": (b"", "empty"),
    "blank lines": (b"\n\n", "empty"),
    "a short row": (b"a,b\n1\n", "row 2"),
    "a long row": (b"a,b\n1,2\n1,2,3\n", "row 3"),
    "a column twice": (b"a,a\n1,2\n", "header"),
    "an open quote": (b'a,b\n"1,2\n', "line"),
    "text behind a quote": (b'a,b\n"1"x,2\n', "line"),
    "NUL": (b"a,b\n1,\x00\n", "NUL"),
    "Latin-1": (b"a\n\xe9\n", "UTF-8"),
    "a million columns": (b"," * 1_000_000, "column"),
    "a giant cell": (b'a\n"' + b"x" * 2_000_000 + b'"\n', "line"),
}


@pytest.mark.parametrize(("body", "said"), CSV_FAULTS.values(), ids=CSV_FAULTS)
def test_csv_faults_are_named(body: bytes, said: str) -> None:
    with pytest.raises(MalformedBody, match=said):
        parse_csv(body)
