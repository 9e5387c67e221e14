"""One server for the tests of this folder, and the client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from millwright_client import Millwright
from tests.live_server import live_server


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Millwright]:
    home = tmp_path_factory.mktemp("client")
    with live_server(home, sentence_model="none") as address, Millwright(address) as client:
        yield client
