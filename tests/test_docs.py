"""Docs are tested: settings and routes are told, links lead somewhere, what a reader types works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import requests

from app import create_app
from errors import MillwrightError
from settings import ENV_PREFIX, PROJECT, VERSION, Settings
from tests.live_server import live_server
from tests.waiting import eventually

DOCS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
GUIDE = PROJECT / "docs" / "training-guide.md"
SERVER = "http://127.0.0.1:5000"
AN_EXAMPLE = {"backup": "backup_20241205_143022", "session": r"(undo/|sessions/|SESSION=)5\b"}
"""What stands in the docs for a name that every plant has its own of."""

LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```(\w+)([ \w]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENDPOINT = re.compile(r"^#+ `(GET|POST|DELETE|PUT|PATCH) (/[^`?\s]*)", re.MULTILINE)
HIDDEN = {"GET /docs/<>", "GET /dashboard/<>"}
"""Routes that are parts of a page, and the way to it."""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """Something a reader may type, with the JSON that the docs say comes back."""

    file: str
    number: int
    language: str
    code: str
    refused: bool
    answer: str | None

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def _blocks(path: Path) -> Iterator[Block]:
    found = FENCE.findall(_text(path))
    for number, (language, marks, code) in enumerate(found, 1):
        answer = found[number][2] if number < len(found) and found[number][0] == "json" else None
        if language in ("bash", "python"):
            yield Block(path.name, number, language, code, "refused" in marks, answer)


BLOCKS = [block for path in DOCS for block in _blocks(path)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a server with the demo plant, which all blocks are run against in their order."""
    with live_server(tmp_path_factory.mktemp("docs")) as address:
        report = {"anomaly_id": "D-1", "description": "Fuite", "equipment_name": "", "equipment_id": "P-1"}
        scores = dict.fromkeys(("availability_score", "fiability_score", "process_safety_score"), 1)
        requests.post(f"{address}/train", json=[report | scores], timeout=120).raise_for_status()
        yield address


def _typed(block: Block, server: str) -> str:
    """Return the block's code with this server's address, newest backup and newest undoable session."""
    code = block.code.replace(SERVER, server)
    if AN_EXAMPLE["backup"] in code:
        backups = requests.get(f"{server}/train/backups", timeout=30).json()["backups"]
        code = code.replace(AN_EXAMPLE["backup"], max(backup["name"] for backup in backups))
    if re.search(AN_EXAMPLE["session"], code):
        sessions = requests.get(f"{server}/train/sessions", timeout=30).json()["results"]
        mine = next(s["training_session_id"] for s in sessions if s["records_added"] and s["kind"] == "train")
        code = re.sub(AN_EXAMPLE["session"], rf"\g<1>{mine}", code)
    return code


def _is_at_rest(server: str) -> bool:
    return not requests.get(f"{server}/train/status", timeout=30).json()["is_training"]


def _run(block: Block, server: str, home: Path) -> subprocess.CompletedProcess[str]:
    (home / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nmax-time = 60\n")
    shell = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    return subprocess.run(
        [*shell, _typed(block, server)],
        cwd=home,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _differences(told: Any, real: Any, where: str = "answer") -> Iterator[str]:
    """Where the docs' JSON has other fields than the real one; ``"…"`` stands for more, null for anything."""
    if isinstance(told, dict) and isinstance(real, dict):
        missing = told.keys() - real.keys() - {"…"}
        untold = real.keys() - told.keys() if "…" not in told else set()
        yield from (f"{where}.{name} is not there" for name in sorted(missing))
        yield from (f"{where}.{name} is not told" for name in sorted(untold))
        for name in sorted(told.keys() & real.keys()):
            yield from _differences(told[name], real[name], f"{where}.{name}")
    elif isinstance(told, list) and isinstance(real, list):
        if told and real:
            entries = (list(_differences(told[0], entry, f"{where}[0]")) for entry in real)
            yield from min(entries, key=len)  # a plant may have other models, too: one must be as told
    elif told is not None and real is not None and _kind(told) is not _kind(real):
        yield f"{where} is {real!r}, told as {told!r}"


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_a_reader_types_works(block: Block, server: str, tmp_path: Path) -> None:
    # Some blocks leave a training in the background; the answers in the docs are those of a server at rest.
    eventually(lambda: _is_at_rest(server))
    ended = _run(block, server, tmp_path)
    assert (ended.returncode == 22) is block.refused, f"{ended.returncode}: {ended.stdout}{ended.stderr}"
    assert ended.returncode in (0, 22), ended.stderr
    if block.answer is not None:
        assert list(_differences(json.loads(block.answer), json.loads(ended.stdout))) == []


def test_a_plants_own_history_takes_the_place_of_the_invented_one_and_of_nothing_else(tmp_path: Path) -> None:
    home, mine = tmp_path / "home", tmp_path / "mine"
    with live_server(home, sentence_model="none"):
        pass
    kept = home / "models" / "default" / "rul" / "pumps" / "v0001" / "kept.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("not scoring's")
    mine.mkdir()
    for file in (PROJECT / "data" / "demo").glob("*.csv"):
        (mine / file.name).write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:41]))
    (typed,) = [block[2] for block in FENCE.findall(_text(DOCS[0])) if "rm -rf" in block[2]]
    typed = typed.replace("/path/to/your", str(mine)).replace("make run", "")
    subprocess.run(["bash", "-euc", typed], cwd=home, check=True)
    with live_server(home, sentence_model="none", demo_data=0) as address:
        health = requests.get(f"{address}/health", timeout=30).json()
        (version,) = [row["version"] for row in health["champions"] if row["model"] == "scoring/default"]
        assert health["problems"] == []
        last = requests.get(f"{address}/train/sessions?limit=1", timeout=30).json()["results"][0]
        assert (last["model"], last["kind"], last.get("warnings", [])) == ("scoring/default", "first", [])
        # The number goes on: one that has served is not given again.
        folder = home / "models" / "default" / "scoring" / "default" / f"v{version:04}"
        manifest = folder / "manifest.json"
        assert json.loads(manifest.read_text())["rows"] == 40
    assert kept.read_text() == "not scoring's"


@pytest.mark.parametrize(
    ("told", "real", "agree"),
    [
        ({"a": 1}, {"a": 2.5}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "…": ""}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {}, False),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": None}, {"a": "x"}, True),
    ],
)
def test_told_and_real_json_are_compared(told: Any, real: Any, agree: bool) -> None:
    assert (list(_differences(told, real)) == []) is agree


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_json_in_the_docs_is_json(path: Path) -> None:
    for language, _, code in FENCE.findall(_text(path)):
        if language == "json":
            json.loads(code)


def test_every_route_is_told_and_nothing_else_is(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, sentence_model="none"))
    app.extensions["millwright"].close()
    real = {
        f"{method} {re.sub('<[^>]*>', '<>', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST", "DELETE", "PUT", "PATCH"}
    }
    told = {
        f"{method} {re.sub('<[^>]*>', '<>', path)}"
        for doc in DOCS
        for method, path in ENDPOINT.findall(_text(doc))
    }
    assert told == real - HIDDEN


def _codes(kind: type[MillwrightError]) -> set[str]:
    return {kind.code, *(code for child in kind.__subclasses__() for code in _codes(child))}


def test_every_error_code_is_in_the_guide() -> None:
    table = _text(GUIDE).partition("## Errors")[2]
    told = set(re.findall(r"^\| \d+ \| `(\w+)` \|", table, re.MULTILINE))
    # What a start and the tools of `millwright mcp` refuse is no answer of the server.
    assert _codes(MillwrightError) - {"configuration", "invalid_confirmation"} <= told


def _settings_table() -> str:
    """Return the table of docs/configuration.md as it must be."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for setting in fields(Settings):
        meaning = setting.metadata["help"].replace("|", r"\|")
        rows.append(
            f"| `{ENV_PREFIX}{setting.name.upper()}` | {_format_default(setting.default)} | {meaning} |"
        )
    return "\n".join(rows)


def _format_default(default: object) -> str:
    if default == PROJECT:
        return "the project's folder"
    if isinstance(default, bool):
        return f"`{int(default)}`"
    return f"`{default}`" if default not in ("", ()) else ""


def test_every_setting_is_documented_as_it_is() -> None:
    text = _text(PROJECT / "docs/configuration.md")
    found = text.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    assert found.strip() == _settings_table()


def test_every_dependency_is_accounted_for() -> None:
    files = [PROJECT / f"requirements{extra}.txt" for extra in ("", "-keras", "-mcp", "-tensorflow")]
    required = {name for file in files for name in re.findall(r"^([\w-]+)", _text(file), re.MULTILINE)}
    told = re.findall(r"^\| ([\w-]+) \|", _text(PROJECT / "docs/DEPENDENCIES.md"), re.MULTILINE)
    assert sorted(set(told) - {"library", "---"}) == sorted(required)


def _anchors(text: str) -> set[str]:
    """Return the anchors that headings get."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(_text(path)):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor[1:] in _anchors(_text(file)), f"{path.name} links to {target}{anchor}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(r"`((?:[\w-]+/)+(?:[\w-]+\.(?:py|sh|service|md))?)`", _text(path))
    ours = [name for name in named if name.partition("/")[0] not in ("data", "models", "model_backups")]
    assert [name for name in ours if not (PROJECT / name).exists()] == []


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(rf"^## \[{re.escape(VERSION)}\]", _text(PROJECT / "CHANGELOG.md"), flags=re.MULTILINE)
