"""``dataset.json``: what is known of a dataset without reading its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NotRequired, TypedDict, cast

from storage.datasets.findings import FindingDict

TABLE: Final = "table"
RECORDINGS: Final = "recordings"
WAVEFORMS: Final = "waveforms"
SPECTROGRAMS: Final = "spectrograms"
INPUT_KINDS: Final = (WAVEFORMS, SPECTROGRAMS)
FACTS_FILE: Final = "dataset.json"
# Keys of version 0.1 → today's.
_RENAMED: Final = {"first": "first_timestamp", "last": "last_timestamp", "content": "input_kind"}


class Description(TypedDict):
    """What a table, or the recordings of an upload, hold.

    ``columns`` are ``numeric`` ones, which can be trained on, and ``texts``; recordings have neither list.
    """

    rows: int
    columns: list[str]
    numeric: list[str]
    texts: list[str]
    types: dict[str, str]
    time_column: str | None
    frequency_seconds: float | None
    first_timestamp: str | None
    last_timestamp: str | None
    time_format: NotRequired[str | None]
    input_kind: NotRequired[str]
    recordings: NotRequired[int]
    labels: NotRequired[dict[str, int]]
    specimens: NotRequired[int]
    sampling_rate_hz: NotRequired[float | None]


class Origin(TypedDict):
    """Where the content of a dataset comes from.

    ``sha256`` is that of the uploaded file, or of the values after a fix.
    """

    name: str
    sha256: str
    parent: str | None
    fixes: list[str]


class DatasetFacts(Description, Origin):
    """Everything in ``dataset.json``; fields that only recordings have are not required."""

    id: str
    kind: str
    created_at: str
    findings: list[FindingDict]


def read_facts(folder: Path) -> DatasetFacts:
    """Read the facts of a dataset's folder; files of earlier versions get today's keys."""
    stored: dict[str, object] = json.loads((folder / FACTS_FILE).read_bytes())
    facts = {_RENAMED.get(key, key): value for key, value in stored.items()}
    if facts.setdefault("kind", TABLE) == RECORDINGS:
        facts.setdefault("input_kind", WAVEFORMS)
    return cast(DatasetFacts, facts)
