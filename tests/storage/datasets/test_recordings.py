"""A zip of recordings becomes a dataset whose report names wrong files; a hostile one is refused whole."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from errors import BodyTooLarge, InvalidContent
from storage.datasets.hints import UploadHints
from storage.datasets.recordings.waveform import encode_wav, read_sound_file
from storage.datasets.store import Dataset, DatasetStore
from tests.storage.datasets.test_datasets import finding_codes

CHANCE = np.random.default_rng(0)
WAVE = np.sin(np.arange(200) / 3).astype(np.float32)


@pytest.fixture
def store(tmp_path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets", max_bytes=8_000_000)


def zipped(files: Mapping[str, bytes | str], **how) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, **how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def put(store: DatasetStore, content: bytes, **hints) -> Dataset:
    return store.receive(io.BytesIO(content), "plant.zip", hints=UploadHints(**hints))


def csv(samples=WAVE, header: str = "time,x\n", rate: float = 100.0, seed: int = 0) -> str:
    noise = np.random.default_rng(seed).normal(0, 0.1, len(samples))
    return header + "".join(f"{n / rate:.4f},{v:.5f}\n" for n, v in enumerate(samples + noise))


def of_two_classes(**more: bytes | str) -> dict[str, bytes | str]:
    good = {f"healthy/a{n}.csv": csv(seed=n) for n in range(3)}
    return {**good, **{f"broken/b{n}.csv": csv(2 * WAVE, seed=9 + n) for n in range(3)}, **more}


def entries(dataset: Dataset) -> dict[str, tuple]:
    return {e.recording: (e.label, e.specimen, e.samples) for e in dataset.recordings().entries}


def test_folders_are_labels_and_the_time_column_gives_the_rate(store):
    dataset = put(store, zipped(of_two_classes()))
    assert (dataset.kind, dataset.facts["recordings"]) == ("recordings", 6)
    assert dataset.facts["labels"] == {"broken": 3, "healthy": 3}
    assert dataset.facts["sampling_rate_hz"] == pytest.approx(100)
    assert dataset.facts["columns"] == ["x"]
    assert dataset.facts["findings"] == []
    kept = dataset.recordings()
    first = kept.entries[0]
    assert (first.recording, first.label) == ("broken/b0.csv", "broken")
    assert kept.samples(first)[1, 0] == pytest.approx(
        float(csv(2 * WAVE, seed=9).splitlines()[2].split(",")[1])
    )
    assert isinstance(kept.values, np.memmap)


def test_folders_that_all_share_are_no_labels_and_a_second_level_is_the_specimen(store):
    files = {f"plant/{label}/{s}/r.csv": csv(seed=i) for i, (label, s) in
             enumerate([("ok", "A"), ("ok", "B"), ("bad", "C"), ("bad", "D")])}  # fmt: skip
    told = entries(put(store, zipped(files)))
    assert told["plant/ok/A/r.csv"] == ("ok", "A", 200)
    assert told["plant/bad/D/r.csv"] == ("bad", "D", 200)


def test_labels_csv_goes_before_folders_and_names_what_is_missing(store):
    labels = "recording,label,specimen,sampling_rate_hz\na,worn,S1,50\nx/b.wav,new,S2,\nnowhere,new,,\n"
    files: dict[str, bytes | str] = {
        "labels.csv": labels,
        "x/a.csv": "x\n" + "1.5\n2.5\n" * 50,
        "x/b.wav": encode_wav(WAVE[:, None], 100),
        "x/c.wav": encode_wav(WAVE[:, None] / 2, 100),
    }
    dataset = put(store, zipped(files))
    report = finding_codes(dataset)
    assert report["labels_without_recording"]["values"] == ["nowhere"]
    assert report["unlabelled_recordings"]["values"] == ["x/c.wav"]
    told = {e.recording: (e.label, e.specimen, e.sampling_rate_hz) for e in dataset.recordings().entries}
    assert told["x/a.csv"] == ("worn", "S1", 50)
    assert told["x/b.wav"] == ("new", "S2", 100)
    assert "different_sampling_rates" in report


def test_a_column_cuts_a_file_into_recordings_where_it_changes(store):
    rows = [f"{k},{s},{v:.3f}" for k, s in (("ok", 1), ("bad", 1), ("ok", 2)) for v in WAVE]
    text = "state,speed,x\n" + "\n".join(rows) + "\n"
    dataset = put(
        store, zipped({"all.csv": text}), label_column="state", specimen_column="speed", sampling_rate_hz=50
    )
    assert entries(dataset) == {
        "all.csv#1": ("ok", "1", 200), "all.csv#2": ("bad", "1", 200), "all.csv#3": ("ok", "2", 200),
    }  # fmt: skip
    assert dataset.facts["sampling_rate_hz"] == 50
    assert dataset.facts["columns"] == ["x"]


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_wav_of_every_width_reads_alike(bits):
    scaled = np.round(WAVE * 0.9 * (2 ** (bits - 1) - 1)).astype(np.int64)
    body = {
        8: lambda: (scaled + 128).astype(np.uint8).tobytes(),
        24: lambda: b"".join(int(v).to_bytes(3, "little", signed=True) for v in scaled),
    }.get(bits, lambda: scaled.astype(f"<i{bits // 8}").tobytes())()
    head = struct.pack("<HHIIHH", 1, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    wav = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + head
    waveform = read_sound_file(wav + b"LIST\x01\0\0\0x\0" + b"data" + struct.pack("<I", len(body)) + body)
    assert waveform.sampling_rate_hz == 8000
    np.testing.assert_allclose(waveform.samples[:, 0], WAVE * 0.9, atol=2.0 ** (2 - bits))


def test_a_wav_of_floats_goes_there_and_back():
    two = np.stack([WAVE, -WAVE], axis=1)
    waveform = read_sound_file(encode_wav(two, 12_000))
    np.testing.assert_array_equal(waveform.samples, two)
    assert waveform.channels == ("channel_1", "channel_2")


def test_wrong_files_are_named_with_a_reason_and_the_others_are_kept(store):
    wrong: dict[str, bytes | str] = {
        "healthy/text.csv": "x\nhot\n", "healthy/empty.csv": "", "broken/none.wav": b"RIFFnothing",
        "broken/notes.md": "hello", "broken/other.csv": "x,y\n1,2\n2,3\n",
        "broken/gaps.csv": "x\n1\nNaN\n2\n" + "3\n4\n" * 50, "broken/flat.csv": "x\n" + "7\n" * 99,
        "broken/uneven.csv": "time,x\n0,1\n1,2\n2,4\n9,3\n", "broken/copy.csv": csv(2 * WAVE, seed=9),
        "__MACOSX/broken/._b0.csv": "junk",
    }  # fmt: skip
    dataset = put(store, zipped(of_two_classes(**wrong)))
    report = finding_codes(dataset)
    unreadable = " | ".join(report["unreadable_recordings"]["values"])
    assert "healthy/text.csv: row 1 of column 'x' is no number ('hot')" in unreadable
    assert "healthy/empty.csv: empty" in unreadable and "none.wav" in unreadable
    assert report["files_left_out"]["values"] == ["broken/notes.md: neither .csv nor .wav, .flac or .aiff"]
    assert "broken/flat.csv" in report["constant_recordings"]["values"][0]
    assert report["missing_samples"]["values"] == ["broken/gaps.csv: 1, the first in row 2"]
    assert report["different_channels"]["values"] == ["broken/other.csv: x, y instead of x"]
    assert report["irregular_sampling"]["values"] == ["broken/uneven.csv"]
    assert report["duplicate_recordings"]["values"] == ["broken/copy.csv: as broken/b0.csv"]
    assert dataset.facts["recordings"] >= 8


def member(name: str, mode: int = 0o644, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | mode) << 16
    return info


def hostile(*members: zipfile.ZipInfo | str, content: bytes | str = "x\n1\n2\n") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in members:
            archive.writestr(one, content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (lambda: hostile("good/a.csv", "../evil.csv"), "leads outside"),
        (lambda: hostile("good/../../evil.csv"), "leads outside"),
        (lambda: hostile("/etc/cron.d/evil.csv"), "no relative path"),
        (lambda: hostile("C:/evil.csv"), "no relative path"),
        (lambda: hostile("good\\..\\evil.csv"), "no relative path"),
        (lambda: hostile("good//a.csv"), "leads outside"),
        (lambda: hostile(member("good/link.csv", kind=stat.S_IFLNK), content="/etc/passwd"), "link"),
        (lambda: hostile(member("good/pipe.csv", kind=stat.S_IFIFO)), "link or a device"),
        (lambda: hostile("good/a.csv", "Good/A.csv"), "twice"),
        (lambda: hostile("good/a.csv", "good/a.csv/b.csv"), "below a file"),
        (lambda: hostile("good/inner.zip", content=zipped({"a.csv": "x\n1\n"})), "inside the archive"),
        (lambda: hostile("good/a.csv", content=zipped({"a.csv": "x\n1\n"})), "inside the archive"),
        (lambda: hostile("good/a.csv\u202e"), "invisible"),
        (lambda: hostile("good/a.csv")[:-30], "no table|damaged|NUL"),
        (lambda: zipped({}), "no recording"),
        (lambda: zipped({"a/readme.md": "hello"}), "no recording"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_or_empty_archive_is_refused_whole(store, tmp_path, archive, said):
    with pytest.raises(InvalidContent, match=said):
        put(store, archive())
    assert list((tmp_path / "datasets" / "default").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(store):
    with pytest.raises(InvalidContent, match="twice"):
        put(store, hostile("a/x.csv", "a/x.csv"))


def test_an_encrypted_member_is_refused(store):
    content = bytearray(zipped(of_two_classes()))
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    with pytest.raises(InvalidContent, match="encrypted"):
        put(store, bytes(content))


def test_a_bomb_is_refused_before_it_is_unfolded(tmp_path):
    bomb = zipped({f"a/{n}.csv": b"1\n" * (20 << 20) for n in range(4)})
    assert len(bomb) < 1 << 20
    with pytest.raises(BodyTooLarge, match="times its size"):
        put(DatasetStore(tmp_path, max_bytes=1 << 30), bomb)
    with pytest.raises(BodyTooLarge, match="unfolds to more than 8 MB"):
        put(DatasetStore(tmp_path, max_bytes=8_000_000), bomb)
    assert list((tmp_path / "default").iterdir()) == []


def test_a_member_longer_than_announced_is_refused(store, tmp_path):
    content = bytearray(zipped({"a/x.csv": b"1\n" * 1000}))
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    with pytest.raises(InvalidContent, match="damaged"):
        put(store, bytes(content))
    assert list((tmp_path / "datasets" / "default").iterdir()) == []


def test_members_that_share_bytes_are_refused(store):
    content = bytearray(zipped({"a/x.csv": b"1\n2\n" * 99, "a/y.csv": b"3\n4\n" * 99}))
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = (0).to_bytes(4, "little")
    with pytest.raises(InvalidContent, match=r"share their bytes|damaged"):
        put(store, bytes(content))


def test_labels_at_fault_stop_the_upload(store):
    for labels, said in (
        ("name,kind\na,b\n", "needs the columns"),
        ("recording,label\na0,x\na0,y\n", "twice"),
        ("recording,label,sampling_rate_hz\na0,x,fast\n", "no rate"),
        ("recording,label\nr.csv,x\n", "name the path"),
    ):
        more = {"healthy/r.csv": csv(), "broken/r.csv": csv(), "labels.csv": labels}
        with pytest.raises(InvalidContent, match=said):
            put(store, zipped(of_two_classes(**more)))


def test_recordings_are_listed_as_a_preview_and_are_no_table(store):
    dataset = put(store, zipped(of_two_classes()))
    shown = store.preview(dataset.id, first=1, count=2)
    assert (shown["total_rows"], [row["recording"] for row in shown["rows"]]) == (
        6,
        ["broken/b1.csv", "broken/b2.csv"],
    )
    with pytest.raises(InvalidContent, match="of kind recordings"):
        dataset.table()
    with pytest.raises(InvalidContent, match="of kind recordings"):
        store.fix(dataset.id, ["sort_by_time"])
    table = store.receive(io.BytesIO(b"a,b\n1,2\n3,4\n"), "t.csv")
    assert table.facts["kind"] == "table"
    with pytest.raises(InvalidContent, match="of kind table"):
        table.recordings()


def test_a_folder_reads_like_its_zip(store, tmp_path):
    for name, content in of_two_classes().items():
        target = tmp_path / "plant" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(str(content))
    (tmp_path / "plant" / "healthy" / "link.csv").symlink_to(Path("/etc/hostname"))
    folder, archive = store.receive_folder(tmp_path / "plant"), put(store, zipped(of_two_classes()))
    assert entries(folder) == entries(archive)
    np.testing.assert_array_equal(folder.recordings().values, archive.recordings().values)


@pytest.mark.parametrize("value", ["1e300", "-1e39", "1e16"])
def test_samples_of_which_no_spectrum_can_be_made_are_told_with_their_row(store, value):
    text = csv().splitlines()
    text[7] = text[7].split(",")[0] + "," + value
    reasons = finding_codes(put(store, zipped(of_two_classes(**{"broken/odd.csv": "\n".join(text)}))))
    assert "broken/odd.csv: row 7 of 'x' holds" in reasons["unreadable_recordings"]["values"][0]


def test_a_wav_file_with_infinities_is_told(store):
    wave = encode_wav(np.where(np.arange(200) == 9, np.inf, WAVE)[:, None], 100)
    reasons = finding_codes(put(store, zipped(of_two_classes(**{"broken/odd.wav": wave}))))
    assert "row 10 of 'channel_1' holds inf" in reasons["unreadable_recordings"]["values"][0]


def test_a_sound_file_that_was_cut_off_is_told(store):
    whole = encode_wav(WAVE[:, None], 100)
    dataset = put(store, zipped(of_two_classes(**{"broken/cut.wav": whole[: -4 * 150]})))
    (value,) = finding_codes(dataset)["cut_recordings"]["values"]
    stated = f"{len(whole) - 600:,} of the {len(whole):,} bytes that its header states"
    assert value == f"broken/cut.wav: {stated}"
    assert entries(dataset)["broken/cut.wav"] == ("broken", None, 50)


def test_a_blank_behind_a_label_makes_no_other_class(store):
    files = {"labels.csv": "recording,label\na.csv,ok\nb.csv,ok \nc.csv, worn\nd.csv,worn\n"}
    files |= {f"{name}.csv": csv(seed=n) for n, name in enumerate("abcd")}
    assert put(store, zipped(files)).facts["labels"] == {"ok": 2, "worn": 2}
    folders = {f"{folder}/{n}.csv": csv(seed=n) for n, folder in enumerate(["ok", "ok ", "worn", "worn"])}
    assert put(store, zipped(folders)).facts["labels"] == {"ok": 2, "worn": 2}


def wav_head(bits: int = 16, rate_hz: int = 8_000, data: bytes = b"\0\1" * 200) -> bytes:
    frame = (bits + 7) // 8
    head = struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * frame % 2**32, frame, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (wav_head(bits=0), "no sound file"),
        (wav_head(rate_hz=4_000_000_000), "no sound file"),
        (wav_head(data=b""), "no samples"),
    ],
)
def test_a_wav_file_whose_header_lies_is_told(content, said):
    with pytest.raises(InvalidContent, match=said):
        read_sound_file(content)


def test_csv_files_at_fault_are_told_in_words_about_the_file(store):
    files = {
        "a/too fast.csv": "time,x\n0,1\n1e-320,2\n2e-320,3\n3e-320,4\n",
        "a/long.csv": "0" * (30 << 20),
        "a/header.csv": "x,y",
    }
    noise = {"b/noise.wav": encode_wav(CHANCE.normal(size=(500_000, 1)), 8_000)}
    dataset = put(DatasetStore(store.folder), zipped({**of_two_classes(), **files, **noise}))
    told = "; ".join(finding_codes(dataset)["unreadable_recordings"]["values"])
    assert "too fast.csv: its sampling rate is" in told
    assert "long.csv: The first line has more than a megabyte" in told
    assert "header.csv: no rows" in told


@pytest.mark.parametrize("column", ["label", "specimen"])
def test_endless_labels_are_refused(store, column):
    row = {"label": "x", "specimen": "y", column: "z" * 101}
    labels = f"recording,label,specimen\na.csv,{row['label']},{row['specimen']}\n"
    with pytest.raises(InvalidContent, match=f"the {column} of 'a.csv' is longer than 100 characters"):
        put(store, zipped({"a.csv": csv(), "labels.csv": labels}))


def test_too_few_specimens_are_told_before_a_training(store):
    files = {f"{label}/{label}-{n}/{k}.csv": csv(seed=k) for label, count in (("a", 3), ("b", 2))
             for n in range(count) for k in range(2)}  # fmt: skip
    told = finding_codes(put(store, zipped(files)))["few_specimens"]
    assert told["values"] == ["b: 2"] and "fewer than 3 specimens" in told["message"]


def encode(samples: np.ndarray, **how) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, samples, 12_000, **how)
    return made.getvalue()


@pytest.mark.parametrize("kind", ["FLAC", "AIFF"])
def test_flac_and_aiff_files_are_recordings_like_wav(store, kind):
    sound = encode(WAVE[:, None], format=kind, subtype="PCM_24")
    np.testing.assert_allclose(read_sound_file(sound).samples, WAVE[:, None], atol=1e-6)
    dataset = put(store, zipped(of_two_classes(**{f"broken/b.{kind.lower()}": sound})))
    assert entries(dataset)[f"broken/b.{kind.lower()}"] == ("broken", None, 200)


def test_sound_files_of_other_formats_and_with_endless_samples_are_refused():
    with pytest.raises(InvalidContent, match="format AU"):
        read_sound_file(encode(WAVE, format="AU", subtype="PCM_16"))
    endless = bytearray(encode(np.zeros((100, 1)), format="FLAC"))
    endless[21] |= 0x0F  # the number of samples that the header states
    endless[22:26] = b"\xff" * 4
    with pytest.raises(InvalidContent, match="unfolds to more than"):
        read_sound_file(bytes(endless))
    with pytest.raises(InvalidContent, match="unfolds to more than"):
        read_sound_file(encode(np.zeros((1 << 20, 1)), format="FLAC"), max_sample_bytes=1 << 20)


def test_a_label_may_look_like_a_missing_cell(store):
    text = "label,x\n" + "".join(f"none,{v:.4f}\n" for v in WAVE) + "".join(f"1,{v:.4f}\n" for v in WAVE)
    assert {label for label, _, _ in entries(put(store, zipped({"a.csv": text}))).values()} == {"none", "1"}


def test_most_recordings_decide_the_channels_not_the_first(store):
    two = "x,y\n" + "".join(f"{v:.4f},{v / 2:.4f}\n" for v in WAVE)
    dataset = put(store, zipped(of_two_classes(**{"broken/a-first.csv": two})))
    assert (dataset.facts["columns"], dataset.facts["recordings"]) == (["x"], 6)
    assert finding_codes(dataset)["different_channels"]["values"] == ["broken/a-first.csv: x, y instead of x"]


def test_a_column_without_a_number_is_no_channel(store):
    text = "time,x,spare\n" + "".join(f"{n / 100},{v:.4f},\n" for n, v in enumerate(WAVE))
    dataset = put(store, zipped({f"{kind}/{n}.csv": text for kind in "ab" for n in range(3)}))
    assert dataset.facts["columns"] == ["x"] and "missing_samples" not in finding_codes(dataset)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("time_ms", list(range(200))),
        ("t_us", [1000 * n for n in range(200)]),
        ("timestamp", [1_700_000_000_000 + n for n in range(200)]),
        ("timestamp", [1_700_000_000_000_000_000 + 1_000_000 * n for n in range(200)]),
        ("Time [ms]", list(range(200))),
    ],
)
def test_times_in_any_unit_give_the_rate(store, name, cells):
    text = f"{name},x\n" + "".join(f"{cell},{v:.4f}\n" for cell, v in zip(cells, WAVE, strict=True))
    dataset = put(store, zipped({"a/1.csv": text, "b/1.csv": text}))
    assert dataset.facts["columns"] == ["x"]
    assert dataset.facts["sampling_rate_hz"] == pytest.approx(1000)


def test_names_in_an_archive_without_an_encoding_are_utf_8_where_they_can_be(store):
    files = zipped({f"gehört/{n}.csv": csv(seed=n) for n in range(2)} | {"ok/1.csv": csv(seed=5)})
    unflagged = bytearray(files)
    for magic, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = unflagged.find(magic)
        while at >= 0:
            unflagged[at + offset + 1] &= ~0x08 & 0xFF
            at = unflagged.find(magic, at + 4)
    assert set(put(store, bytes(unflagged)).facts["labels"]) == {"gehört", "ok"}


def test_numbers_that_stand_for_missing_samples_are_told(store):
    text = csv().splitlines()
    text[9] = text[9].split(",")[0] + ",-9999"
    report = finding_codes(put(store, zipped(of_two_classes(**{"broken/odd.csv": "\n".join(text)}))))
    assert report["placeholder_values"]["values"] == ["broken/odd.csv: 1 samples"]


def test_a_file_whose_rows_change_their_label_without_end_is_refused_at_once(store):
    rows = "".join(f"{'ab'[n % 2]},{n}\n" for n in range(30_000))
    report = finding_codes(put(store, zipped(of_two_classes(**{"all.csv": "label,x\n" + rows}))))
    assert "change their label 30,000 times" in report["unreadable_recordings"]["values"][0]
