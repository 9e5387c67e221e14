"""A sealed document is read exactly as it was written, or not at all."""

import json
import math
import random

import pytest

from errors import ArtefactCorrupt, StorageFailed
from storage.filesystem import checksummed_json
from storage.filesystem.checksummed_json import decode_checksummed, encode_checksummed, read_checksummed

FACTS = {"text": "été \u2028 \U0001f600", "numbers": [1, 2.5, 1e300, -0.0], "nested": {"b": None, "a": True}}


def test_it_comes_back_as_it_was(tmp_path):
    (tmp_path / "m.json").write_bytes(encode_checksummed(FACTS))
    found = read_checksummed(tmp_path / "m.json")
    assert {name: found[name] for name in FACTS} == FACTS


def test_sealing_again_gives_the_same_bytes():
    assert encode_checksummed(decode_checksummed(encode_checksummed(FACTS), "m")) == encode_checksummed(FACTS)


@pytest.mark.parametrize("names", ["", "s", "z", "az", "a", "sz", "éa"])
def test_the_seal_finds_its_place_among_any_names(names):
    facts = {name: {"seal": "0" * 64, "text": '\n "seal": "'} for name in names}
    data = encode_checksummed(facts)
    assert data == json.dumps(json.loads(data), ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"
    assert {name: part for name, part in decode_checksummed(data, "m").items() if name != "seal"} == facts


def test_keys_that_are_numbers_survive():
    assert decode_checksummed(encode_checksummed({"counts": {1: 10, 10: 2, 2: 5}}), "m")["counts"] == {
        "1": 10,
        "10": 2,
        "2": 5,
    }


def test_every_flipped_bit_is_noticed():
    data = encode_checksummed(FACTS)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(ArtefactCorrupt):
                decode_checksummed(bytes(flipped), "m")


def test_every_truncation_and_addition_is_noticed():
    data = encode_checksummed(FACTS)
    for wrong in [*(data[:length] for length in range(len(data))), data + b"\n", b" " + data]:
        with pytest.raises(ArtefactCorrupt):
            decode_checksummed(wrong, "m")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"a": NaN}',
        b'{"a":1,"a":1}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=range(10),
)
def test_what_was_never_sealed_is_refused(data):
    with pytest.raises(ArtefactCorrupt):
        decode_checksummed(data, "m")


def test_a_number_out_of_the_text_of_another_document_does_not_fit():
    one, other = (
        json.loads(encode_checksummed({"version": 1})),
        json.loads(encode_checksummed({"version": 2})),
    )
    mixed = json.dumps(one | {"version": other["version"]}, indent=1, sort_keys=True).encode() + b"\n"
    with pytest.raises(ArtefactCorrupt, match="seal"):
        decode_checksummed(mixed, "m")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_json_is_not_sealed(value):
    with pytest.raises(ValueError, match="JSON"):
        encode_checksummed({"value": value})


def test_random_bytes_never_pass():
    chance = random.Random(1)
    for _ in range(1000):
        with pytest.raises(ArtefactCorrupt):
            decode_checksummed(chance.randbytes(chance.randrange(200)), "m")


def test_what_would_be_too_large_to_read_is_not_sealed(monkeypatch):
    monkeypatch.setattr(checksummed_json, "MAX_BYTES", 1000)
    with pytest.raises(StorageFailed, match="too large"):
        encode_checksummed({"text": "x" * 1000})
