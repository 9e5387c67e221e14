"""Words that were replaced by standard terms do not come back: one concept has one name.

Left is the word, right what to write. Code and docs are held to it; released migrations are not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "api",
    "benchmarks",
    "cli",
    "dashboard",
    "demo",
    "docs",
    "millwright_client",
    "notifications",
    "prediction",
    "reports",
    "scripts",
    "storage",
    "tests",
    "training",
)
PROSE = {
    "by rote": "with default scores",
    "chronicle": "training set",
    "front desk": "training manager",
    "hushed": "suppressed",
    "mended": "repaired or corrected",
    "overheard": "captured output",
    "sceptical": "default",
    "the house": "the project",
    "upkeep": "monitoring",
    "whoever asks": "the caller",
}
CONSTANTS = re.compile(
    r"\s*_?(MOST|FEWEST|LONGEST|SHORTEST|LARGEST|SMALLEST|LEAST|HIGHEST|LOWEST)(_\w*)?(: [^=]+)? = "
)
"""Bounds are MAX_ and MIN_, with their unit."""
FUNCTIONS = re.compile(
    r"\s*(async )?def _?(answered|asked|as_dict|dealt|ended|fitted|found|heard|judged|kept|known|learnt|made|moved_on"
    r"|of_dict|said|shown|started|told)\("
)
"""Functions are verbs; the pair of dictionaries is to_dict and from_dict."""
FILES = [
    path
    for folder in FOLDERS
    for suffix in ("*.py", "*.md")
    for path in sorted((PROJECT / folder).rglob(suffix))
    if "versions" not in path.parts and path.name != Path(__file__).name
]
FILES += [*PROJECT.glob("*.py"), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("word", PROSE)
def test_a_replaced_word_does_not_come_back(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    places = [
        f"{path.relative_to(PROJECT)}:{number}: write “{PROSE[word]}”"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert places == []


def test_bounds_and_functions_have_standard_names() -> None:
    places = [
        f"{path.relative_to(PROJECT)}:{number} {line.strip()}"
        for path in FILES
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FUNCTIONS.match(line) or CONSTANTS.match(line)
    ]
    assert places == []


@pytest.mark.parametrize("line", ["def _made(x: int) -> int:", "    async def told():", "MOST_ROWS: int = 3"])
def test_a_name_of_the_wrong_kind_is_seen(line: str) -> None:
    assert FUNCTIONS.match(line) or CONSTANTS.match(line)
