"""A name from a URL is looked up, never made a path: whatever trick is in it, nothing outside is opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.api.http.hostile_names import hostile_names

ROUTES = {
    "a backup": ("GET", "/train/backups/{}"),
    "a backup removed": ("DELETE", "/train/backups/{}"),
    "a backup verified": ("POST", "/train/backups/{}/verify"),
    "a restore": ("POST", "/train/restore/{}"),
    "a trial restore": ("POST", "/train/restore/{}?dry_run=1"),
    "a model": ("GET", "/models/toy/{}"),
    "a model of any family": ("GET", "/models/{}/default"),
    "versions": ("GET", "/models/toy/{}/versions"),
    "a version": ("GET", "/models/toy/default/versions/{}"),
    "a file": ("GET", "/models/toy/default/versions/1/files/{}"),
    "a champion's file": ("GET", "/models/toy/default/champion/files/{}"),
    "a promotion": ("POST", "/models/toy/default/versions/{}/promote"),
    "a session": ("GET", "/train/sessions/{}"),
    "a session's events": ("GET", "/train/sessions/{}/events"),
    "a cancellation": ("POST", "/train/sessions/{}/cancel"),
    "a retry": ("POST", "/train/sessions/{}/retry"),
    "an undoing": ("POST", "/train/undo/{}"),
    "a training": ("POST", "/train/toy/{}?dry_run=1"),
    "a training of any family": ("POST", "/train/{}/default?dry_run=1"),
    "a prediction": ("POST", "/predict/toy/{}"),
    "a page's part": ("GET", "/docs/{}"),
}
REAL = {"a file": "model.json", "a champion's file": "model.json", "a page's part": "docs.js"}
EXISTING = {"manifest.json", "1"}

_opened: list[str] = []
_watching = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir"):
        _opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | Path) else "")


sys.addaudithook(_note)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Return the paths that Python opens meanwhile."""
    global _watching  # noqa: PLW0603
    _opened.clear()
    _watching = True
    try:
        yield _opened
    finally:
        _watching = False


def test_there_are_names_enough() -> None:
    assert len(set(hostile_names("backup_20260101_000000"))) >= 150


@pytest.mark.parametrize(("method", "route"), ROUTES.values(), ids=ROUTES)
def test_a_hostile_name_finds_nothing(
    trained_app: Flask, method: str, route: str, request: pytest.FixtureRequest
) -> None:
    home = Path(trained_app.extensions["millwright"].storage.settings.home)
    backup = trained_app.test_client().get("/train/backups").get_json()["backups"][0]["name"]
    real = REAL.get(request.node.callspec.id, backup)
    before = _tree(home)
    client = trained_app.test_client()
    with watched() as opened:
        for name in hostile_names(real):
            if name in EXISTING:
                continue
            answer = client.open(route.format(name), method=method)
            assert answer.status_code in _expected(method, route, name), (
                name,
                answer.status_code,
                answer.data[:200],
            )
            assert answer.get_json()["success"] is False, name
    outside = [path for path in opened if not _allowed(path, home)]
    assert outside == []
    assert _tree(home) == before


def _expected(method: str, route: str, name: str) -> tuple[int, ...]:
    """404; where the trick makes another route of ours of the path, that route's refusal."""
    if "?" in name or "#" in name or name in (".", "..") or name.startswith("/") or "/" in name:
        return (400, 404, 405)
    if "/train/toy" in route or "/predict/" in route:
        return (400, 404, 409, 422)
    return (400, 404)


def _allowed(path: str, home: Path) -> bool:
    """Our own home, our own code, and what Python reads for itself."""
    fine = (
        str(home),
        sys.prefix,
        sys.base_prefix,
        str(Path(__file__).resolve().parents[2]),
        "/proc/",
        "/dev/",
    )
    return not path or path.startswith(fine) or not path.startswith("/")


def _tree(home: Path) -> dict[str, int]:
    kept = [path for room in ("models", "model_backups") for path in (home / room).rglob("*")]
    return {str(path.relative_to(home)): path.lstat().st_size for path in kept if path.is_file()}
