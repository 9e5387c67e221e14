"""A champion is frozen where trainings on other data were rejected since it was promoted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from storage.models.rejections import list_rejections
from storage.models.versions import MANIFEST, VersionStore

PATH = "default/rul/pumps"
FAILED = {"name": "harm", "passed": False, "detail": "It does harm."}
BY_HAND = {"name": "by_hand", "passed": False, "detail": "It was asked not to be promoted."}


@pytest.fixture
def versions(tmp_path: Path) -> VersionStore:
    """Return a store whose first version serves."""
    made = VersionStore(tmp_path / "models")
    add(made, 1, parent=None, verdict={"promoted": True})
    made.set_champion(PATH, 1)
    return made


def add(store: VersionStore, number: int, **facts: Any) -> None:
    manifest = {
        "created_at": f"2026-03-{number:02}T12:00:00+00:00",
        "session_id": 10 * number,
        "parent": 1,
        "fingerprint": f"data {number}",
        "verdict": {"promoted": False, "checks": [FAILED]},
    }
    staging = store.staging(PATH, number)
    store.write_manifest(staging, manifest | facts)
    staging.rename(store.folder(PATH, number))


def numbers(store: VersionStore) -> list[int]:
    return [rejection.version for rejection in list_rejections(store, PATH)]


def test_every_rejection_since_the_promotion_counts(versions: VersionStore):
    assert numbers(versions) == []
    add(versions, 2)
    add(versions, 3)
    first, second = list_rejections(versions, PATH)
    assert (first.session_id, second.session_id, f"{first.at:%d.%m.}") == (20, 30, "02.03.")


@pytest.mark.parametrize(
    "facts",
    [
        {
            "verdict": {"promoted": False, "checks": [BY_HAND]}
        },  # nobody has said anything against the champion
        {"fingerprint": "data 1"},  # the champion has learnt the same data
        {"verdict": {"promoted": True, "checks": []}},  # it served, until somebody went back
        {"parent": 7},  # it was compared with another champion
    ],
)
def test_a_training_that_says_nothing_against_the_champion_is_no_rejection(
    versions: VersionStore, facts: dict[str, Any]
):
    add(versions, 2, **facts)
    assert numbers(versions) == []


def test_a_rejection_for_another_reason_too_counts(versions: VersionStore):
    add(versions, 2, verdict={"promoted": False, "checks": [FAILED, BY_HAND]})
    assert numbers(versions) == [2]


def test_whoever_promotes_the_champion_again_decides_anew(versions: VersionStore):
    add(versions, 2)
    os.utime(versions.folder(PATH, 2) / MANIFEST, ns=(0, 0))
    assert numbers(versions) == []


def test_damaged_manifests_hide_no_rejection(versions: VersionStore):
    add(versions, 2)
    add(versions, 3)
    for number in (1, 2):
        (versions.folder(PATH, number) / MANIFEST).write_bytes(b"{")
    assert numbers(versions) == [3]


def test_a_model_without_a_champion_is_not_frozen(versions: VersionStore):
    versions.set_champion(PATH, None)
    add(versions, 2, parent=None)
    assert numbers(versions) == []
