"""Lists of alarms on a terminal: rows that are left out are counted, with the way to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.runner import run
from tests.scripted_server import scripted


def rows(count: int) -> list[dict[str, object]]:
    names = ("id", "created_at", "severity", "event", "subject", "message")
    return [dict.fromkeys(names, number) for number in range(count)]


@pytest.mark.parametrize(
    ("rest", "cursor", "sentence"),
    [
        (37, None, "… and 37 more: --limit 57 shows all"),
        (990, None, "… and 990 more: GET /api/alarms returns all, page by page"),
        (1_000, 7, "… and at least 1,000 more: GET /api/alarms returns all, page by page"),
    ],
)
def test_alarms_beyond_the_limit_are_counted(
    tmp_path: Path, rest: int, cursor: int | None, sentence: str
) -> None:
    script: dict[str, list[tuple[int, object]]] = {
        "/api/alarms?acknowledged=false&limit=20": [(200, {"results": rows(20), "next_cursor": 5})],
        "/api/alarms?acknowledged=false&limit=1000&cursor=5": [
            (200, {"results": rows(rest), "next_cursor": cursor})
        ],
    }
    with scripted(script) as (url, _):
        table = run("alarms", "list", "--open", "--url", url, home=tmp_path)
        document = run("alarms", "list", "--open", "--url", url, "--json", home=tmp_path)
    assert table.stdout.splitlines()[-1] == sentence
    assert json.loads(document.stdout)["next_cursor"] == 5


def test_a_whole_list_names_no_more_rows(tmp_path: Path) -> None:
    page = {"results": rows(3), "next_cursor": None}
    with scripted({"/api/alarms?limit=20": [(200, page)]}) as (url, _):
        result = run("alarms", "list", "--url", url, home=tmp_path)
    assert len(result.stdout.splitlines()) == 4
