"""Which version answers: the champion, or what answered before it where the champion is damaged."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from errors import ArtefactCorrupt, NoChampion, NotFound
from prediction import registry
from prediction.contract import ModelKey, Resources
from prediction.serving import ModelCache
from storage.filesystem.files import remove_tree
from storage.models.versions import VersionStore
from tests import toy_family
from tests.waiting import eventually

KEY = ModelKey("toy")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VersionStore:
    """Three versions: the second was rejected, the third serves. Each answers with its own number."""
    monkeypatch.setattr(registry, "FAMILIES", {"toy": toy_family.ENTRY})
    made = VersionStore(tmp_path / "models")
    for number, promoted in ((1, True), (2, False), (3, True)):
        add_version(made, number, promoted)
    made.set_champion(KEY.path, 3)
    return made


def add_version(store: VersionStore, number: int, promoted: bool) -> None:
    staging = store.staging(KEY.path, number)
    (staging / "model.json").write_text(
        json.dumps({"mean": number, "bias": 0.0, "off": 0.0, "strict": False})
    )
    manifest = {
        "verdict": {"promoted": promoted},
        "created_at": "2026-03-01T12:00:00+00:00",
        "session_id": number,
        "parent": number - 1,
        "fingerprint": f"data {number}",
    }
    store.write_manifest(staging, manifest)
    staging.rename(store.folder(KEY.path, number))


@pytest.fixture
def live(store: VersionStore, tmp_path: Path) -> ModelCache:
    return ModelCache(store, Resources(tmp_path / "cache"))


def damage(store: VersionStore, number: int) -> bytes:
    """Cut a version's file; the bytes it had."""
    file = store.folder(KEY.path, number) / "model.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    return whole


def test_the_champion_answers(live: ModelCache):
    assert (live.current(KEY).number, live.current(KEY).fallback_warning) == (3, "")
    assert live.failures() == {}


def test_the_last_promoted_version_stands_in_for_a_champion_that_is_damaged(
    store: VersionStore, live: ModelCache
):
    damage(store, 3)
    answering = live.current(KEY)
    assert answering.number == 1, "the second was never good enough to answer"
    assert "Version 1 answers instead" in answering.fallback_warning
    assert answering.predictor.predict([{"x": 0}], {})[0]["value"] == 1.0
    assert live.failures() == {KEY: answering.fallback_warning}
    assert live.current(KEY) is answering, "it is not looked for again with every request"


def test_no_sentence_says_where_the_home_is(store: VersionStore, live: ModelCache, tmp_path: Path):
    (store.folder(KEY.path, 3) / "manifest.json").write_bytes(b"{")
    assert "is damaged" in live.current(KEY).fallback_warning
    store.pointer_file(KEY.path).write_bytes(b"{")
    live.refresh()
    (reason,) = live.failures().values()
    assert "champion.json is damaged" in reason or "Version 1" in reason
    assert str(tmp_path) not in f"{reason}{live.current(KEY).warnings}"


def test_a_champion_whose_folder_has_gone_is_stood_in_for(store: VersionStore, live: ModelCache):
    remove_tree(store.folder(KEY.path, 3))
    assert live.current(KEY).number == 1


def test_a_champion_that_is_whole_again_answers_after_a_reload(store: VersionStore, live: ModelCache):
    whole = damage(store, 3)
    live.current(KEY)
    with pytest.raises(ArtefactCorrupt):
        live.reload(KEY)
    assert live.current(KEY).number == 1
    (store.folder(KEY.path, 3) / "model.json").write_bytes(whole)
    live.refresh()
    assert (live.current(KEY).number, live.failures()) == (3, {})


def test_a_promoted_version_that_cannot_be_loaded_is_told_by_the_one_that_answers(
    store: VersionStore, live: ModelCache
):
    store.set_champion(KEY.path, 1)
    live.current(KEY)
    damage(store, 3)
    store.set_champion(KEY.path, 3)
    live.refresh()
    answering = live.current(KEY)
    assert answering.number == 1
    (warning,) = answering.warnings
    assert "Version 3" in warning and "Version 1, which was loaded before, answers" in warning
    assert live.failures() == {KEY: warning}


def test_answers_of_a_frozen_champion_say_so_until_a_version_is_promoted(
    store: VersionStore, live: ModelCache
):
    assert live.current(KEY).warnings == []
    add_version(store, 4, promoted=False)
    (warning,) = live.current(KEY).warnings
    assert "The trainings of toy/default are rejected since 2026-03-01 12:00 UTC" in warning
    assert live.current(KEY) is live.current(KEY), "nothing is read again where nothing has changed"
    assert live.failures() == {}, "the worker serves what it shall serve"
    store.set_champion(KEY.path, 4)
    live.refresh()
    assert (live.current(KEY).number, live.current(KEY).warnings) == (4, [])


def test_what_is_damaged_too_does_not_stand_in(store: VersionStore, live: ModelCache):
    damage(store, 1)
    damage(store, 3)
    with pytest.raises(ArtefactCorrupt, match="Version 3"):
        live.current(KEY)


def test_a_version_that_was_rolled_back_does_not_stand_in(store: VersionStore, live: ModelCache):
    store.set_champion(KEY.path, 1)
    damage(store, 1)
    with pytest.raises(ArtefactCorrupt, match="Version 1"):
        live.current(KEY)


def test_a_pointer_at_nothing_that_was_ever_there(store: VersionStore, live: ModelCache):
    for number in (1, 2, 3):
        remove_tree(store.folder(KEY.path, number))
    with pytest.raises(NotFound):
        live.current(KEY)


def test_whatever_a_file_that_cannot_be_read_raises_it_is_a_damaged_file(
    live: ModelCache, monkeypatch: pytest.MonkeyPatch
):
    class InvalidNetwork(Exception):
        """As libraries that read networks raise them: below nothing but Exception."""

    def load(folder: Path, resources: Resources) -> toy_family.ToyPredictor:
        if folder.name == "v0003":
            raise InvalidNetwork("no such operator")
        return toy_family.ToyPredictor.load(folder, resources)

    predictor = type("Predictor", (), {"load": staticmethod(load)})
    monkeypatch.setattr(registry, "load_predictor", lambda family: predictor)
    assert live.current(KEY).number == 1
    with pytest.raises(ArtefactCorrupt, match="no such operator"):
        live.reload(KEY)


def test_names_that_no_model_has_leave_nothing_behind(live: ModelCache):
    for number in range(10):
        with pytest.raises(NoChampion):
            live.current(ModelKey("toy", f"nothing-{number}"))
    assert not live._loading


def test_a_thread_that_cannot_start_delays_the_swap_and_no_more(
    store: VersionStore, live: ModelCache, monkeypatch: pytest.MonkeyPatch
):
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    live.current(KEY)
    store.set_champion(KEY.path, 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        assert live.current(KEY).number == 3
    live.refresh()
    assert live.current(KEY).number == 1


def test_a_champion_that_memory_does_not_suffice_for_is_a_failure_with_a_reason(
    store: VersionStore, live: ModelCache, monkeypatch: pytest.MonkeyPatch
):
    def run_out_of_memory(*arguments: object) -> None:
        raise MemoryError

    live.current(KEY)
    store.set_champion(KEY.path, 1)
    monkeypatch.setattr(toy_family.ToyPredictor, "load", run_out_of_memory)
    with capture_logs() as logs:
        assert live.current(KEY).number == 3
        eventually(lambda: logs)  # another thread loads the new champion
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("champion_refused", "MemoryError")]
    warning = live.failures()[KEY]
    assert warning.startswith("There is not enough memory to load the champion of toy/default. Version 3")
    live.refresh()
    assert live.failures()[KEY] == warning


def test_a_champion_in_memory_goes_on_answering(store: VersionStore, live: ModelCache):
    live.current(KEY)
    damage(store, 3)
    with pytest.raises(ArtefactCorrupt):
        live.reload(KEY)
    assert live.current(KEY).number == 3


@pytest.mark.parametrize("error", [errno.ENOTDIR, errno.EIO])
def test_a_pointer_that_cannot_be_read_takes_no_model_out_of_memory(
    store: VersionStore, live: ModelCache, monkeypatch: pytest.MonkeyPatch, error: int
):
    live.current(KEY)
    stat = Path.stat

    def fail(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "champion.json":
            raise OSError(error, os.strerror(error))
        return stat(path, follow_symlinks=follow_symlinks)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "stat", fail)
        assert live.current(KEY).number == 3
        eventually(lambda: KEY in live.failures())
        assert "Version 3, which was loaded before, answers" in live.current(KEY).fallback_warning
    live.refresh()
    assert live.failures() == {}
    assert live.current(KEY).fallback_warning == ""
