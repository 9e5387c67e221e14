"""No recording, specimen or copy is on two sides; what cannot be split is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import NotEnoughData
from prediction.damage.data.preparation import choose_transform
from prediction.damage.data.split import split_recordings
from prediction.damage.options import DamageOptions
from prediction.damage.spectrograms.spectrogram import Spectrograms
from prediction.options import load_options
from storage.datasets.recordings.collection import Recording, Recordings


def entry(name: str, label: str, specimen: str | None = None, content: str | None = None) -> Recording:
    return Recording(name, label, specimen, 0, 1000, 100.0, content or name)


def parts_of(entries, **asked):
    made = split_recordings(entries, **asked)
    return made, [set(part) for part in (made.train, made.validation, made.test)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=3, max_size=60), st.integers(0, 9)
)
def test_no_specimen_is_on_two_sides_and_every_class_on_each(told, seed):
    entries = [entry(f"r{n}", label, f"{label}{s}") for n, (label, s) in enumerate(told)]
    try:
        made, parts = parts_of(entries, seed=seed, split_by="specimen")
    except NotEnoughData:
        assert min(len({s for kind, s in told if kind == label}) for label in {k for k, _ in told}) < 3
        return
    assert made.certificate.violations() == []
    assert sorted(place for part in parts for place in part) == list(range(len(entries)))
    specimens = [{entries[place].specimen for place in part} for part in parts]
    assert not specimens[0] & specimens[1] and not specimens[0] & specimens[2]
    assert not specimens[1] & specimens[2]
    labels = {label for label, _ in told}
    assert all({entries[place].label for place in part} == labels for part in parts)


def test_a_specimen_that_has_every_class_stays_whole():
    entries = [entry(f"{label}{speed}", label, str(speed)) for label in "abc" for speed in range(17)]
    made, parts = parts_of(entries)
    assert made.by == "specimen"
    assert [len(part) / 3 for part in parts] == [11, 3, 3]


def test_copies_stay_together():
    entries = [entry(f"r{n}", "ab"[n % 2], content=f"c{n // 4}{n % 2}") for n in range(40)]
    _, parts = parts_of(entries)
    for part in parts:
        others = {place for other in parts if other is not part for place in other}
        assert not {entries[p].sha256 for p in part} & {entries[p].sha256 for p in others}


def test_an_added_recording_does_not_shuffle_the_others():
    entries = [entry(f"r{n}", "ab"[n % 2]) for n in range(30)]
    before, after = split_recordings(entries), split_recordings([*entries, entry("r30", "a")])
    assert set(before.test) & set(after.train) == set()


def test_too_few_specimens_fall_back_to_recordings_and_say_so():
    entries = [entry(f"r{n}", "ab"[n % 2], f"s{n % 4}") for n in range(20)]
    made = split_recordings(entries)
    assert made.by == "recording"
    assert "a, b" in made.note and "never seen" in made.note
    with pytest.raises(NotEnoughData, match=r"3 specimens or more.*a 2, b 2"):
        split_recordings(entries, "specimen")


def test_recordings_of_one_specimen_are_spread_where_recordings_are_split():
    entries = [
        entry(f"{label}{s}{n}", label, f"{label}{s}") for label in "ab" for s in range(4) for n in range(20)
    ]
    _, parts = parts_of(entries, split_by="recording")
    for held_out in parts[1:]:
        assert {entries[place].specimen for place in held_out} == {one.specimen for one in entries}


def test_too_few_recordings_are_refused():
    with pytest.raises(NotEnoughData, match=r"3 recordings or more.*b 2"):
        split_recordings([entry(f"r{n}", "aaaabb"[n]) for n in range(6)])
    with pytest.raises(NotEnoughData, match="name no specimen"):
        split_recordings([entry(f"r{n}", "ab"[n % 2]) for n in range(6)], "specimen")


@pytest.mark.parametrize(
    ("rate_hz", "seconds", "window", "modulation"),
    [
        (50.0, 60, 512, 0),
        (6_000.0, 1, 1024, 32),
        (12_000.0, 10, 2048, 64),
        (64_000.0, 600, 8192, 256),
        (None, 10_000, 2048, 64),
    ],
)
def test_windows_are_a_few_turns_of_a_shaft_at_any_rate(rate_hz, seconds, window, modulation):
    count = int(seconds * (rate_hz or 1))
    entries = [Recording(f"{n}", "ab"[n % 2], None, n * count, count, rate_hz, f"{n:064d}") for n in range(6)]
    recordings = Recordings(("x",), entries, np.zeros((0, 1), dtype=np.float32))
    made = choose_transform(recordings, load_options(DamageOptions, {"dataset": "ds-0"})).spectrograms
    assert isinstance(made, Spectrograms)
    assert (made.window_size, made.modulation) == (window, modulation)
    assert made.shape(1)[1:] == (64, 25)
