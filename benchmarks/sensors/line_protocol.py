"""Readings by line protocol beside NDJSON: ``python -m benchmarks.sensors.line_protocol``.

Both doors get the same readings of 50 sensors in bodies of 5,000, by tag, without a check for anomalies, in one
process over SQLite: what differs is reading the body. The doors take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path

from flask.testing import FlaskClient

from app import create_app
from settings import Settings

SENSORS, BODY = 50, 5_000
START_S = 1_767_600_000


def main() -> None:
    """Print readings per second and door, for each turn."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--turns", type=int, default=10)
    asked = command.parse_args()
    with tempfile.TemporaryDirectory() as home:
        app = create_app(
            Settings(home=Path(home), sentence_model="none", demo_data=False, tracking_uri="none")
        )
        client = app.test_client()
        for number in range(SENSORS):
            body = {"name": f"sensor {number}", "type": "Flow", "tag": f"TI-{number}.PV"}
            assert client.post("/api/sensors/", json=body).status_code == 201
        rates: dict[str, list[int]] = {"ndjson": [], "line_protocol": [], "line_protocol_gzip": []}
        for turn in range(asked.turns):
            for door, door_rates in rates.items():
                door_rates.append(round(BODY / _send(client, door, turn)))
        app.extensions["millwright"].close()
    medians = {door: sorted(values)[len(values) // 2] for door, values in rates.items()}
    print(json.dumps({"readings_per_second": rates, "median": medians}, indent=2))


def _send(client: FlaskClient, door: str, turn: int) -> float:
    """Send one body and return the seconds until it was stored."""
    rows = [(f"TI-{n % SENSORS}.PV", 50 + n % 7 / 10, START_S + turn * BODY + n) for n in range(BODY)]
    headers = {}
    if door == "ndjson":
        path, content_type = "/api/readings/?detect=false", "application/x-ndjson"
        lines = [
            json.dumps({"tag": tag, "raw_value": value, "timestamp": _format(at)}) for tag, value, at in rows
        ]
    else:
        path, content_type = "/api/v2/write?precision=s&detect=false", "text/plain"
        lines = [f"opcua,tag={tag} value={value} {at}" for tag, value, at in rows]
    body = "\n".join(lines).encode()
    if door.endswith("gzip"):
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
    began = time.perf_counter()
    answer = client.post(path, data=body, content_type=content_type, headers=headers)
    assert answer.status_code in (201, 204), answer.text
    return time.perf_counter() - began


def _format(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


if __name__ == "__main__":
    main()
