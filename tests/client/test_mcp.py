"""The tools of `millwright mcp`, asked by the official client over stdio, against a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
import requests
from mcp import Client, StdioServerParameters

from cli.mcp.commands import CHANGING, PLANT, READING
from cli.mcp.confirmation import LIFETIME_SECONDS, Confirmations, InvalidToken
from demo.anomaly_reports import demo_records
from millwright_client import Answer, Millwright
from settings import PROJECT
from tests.api.test_dataset_routes import zip_of_recordings
from tests.live_server import free_port
from tests.waiting import eventually

Call = Callable[..., Awaitable[Answer]]


def run(conversation: Callable[[], Awaitable[None]]) -> None:
    """Run in a thread of its own: the browser of other tests has a running loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, conversation).result()


def talk(client: Millwright, conversation: Callable[[Client, Call], Awaitable[None]]) -> None:
    """Start the command as a program of tools does, and hold a conversation with it."""
    arguments = ["-m", "cli", "mcp", "--url", client.connection.location]
    command = StdioServerParameters(command=sys.executable, args=arguments, cwd=PROJECT)

    async def converse() -> None:
        async with Client(command) as session:

            async def call(tool: str, **arguments: object) -> Answer:
                result = await session.call_tool(tool, arguments)
                if result.is_error:
                    return {"error": result.content[0].model_dump()["text"]}
                return result.structured_content

            await conversation(session, call)

    run(converse)


def test_reading_is_free_and_changing_is_confirmed(client: Millwright) -> None:
    async def conversation(session: Client, call: Call) -> None:
        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} == {*READING, *PLANT, *CHANGING}
        assert all(tool.description and "self" not in str(tool.input_schema) for tool in tools)
        assert "examples" in str(next(tool.input_schema for tool in tools if tool.name == "predict"))

        status = await call("get_status")
        assert "status" in status["health"]
        predicted = await call("predict", records=[{"description": "Fuite d'huile"}])
        assert predicted["version"] >= 1
        assert 1 <= predicted["predictions"][0]["scores"]["availability"]["score"] <= 5
        assert "no_champion" in (await call("get_asset_health", device_id="P-1"))["error"]

        record = demo_records(12, seed=9)[0]
        wrong = await call("start_training", records=[{**record, "availability_score": 9}])
        assert "invalid_records" in wrong["error"]
        first = await call("start_training", records=[record])
        assert (first["done"], first["would_change"]["records_new"]) == (False, 1)

        before = [backup["name"] for backup in client.backups.list()]
        asked = await call("create_backup", reason="audit")
        assert [backup["name"] for backup in client.backups.list()] == before
        token = asked["confirmation"]
        assert token.startswith("create_backup audit #")
        other = await call("create_backup", reason="something else", confirmation=token)
        assert "for another call" in other["error"]
        done = await call("create_backup", reason="audit", confirmation=token)
        assert done["done"] is True
        assert done["name"] not in before
        again = await call("create_backup", reason="audit", confirmation=token)
        assert "used already" in again["error"]
        assert (await call("preview_restore", name=done["name"]))["dry_run"] is True
        sensor = client.sensors.create("Asked sensor", "Pressure", tag="PI-7.PV")
        for hour in (1, 2, 3):
            sensor.add_readings(
                [{"raw_value": hour, "timestamp": f"2026-01-05T0{hour}:00:00Z"}], detect=False
            )
            sensor.add_anomaly("Spike", hour, f"2026-01-05T0{hour}:00:00Z", severity="High")
        newest = await call("get_readings", sensor="PI-7.PV", limit=2)
        assert ([row["raw_value"] for row in newest["results"]], newest["more"]) == ([3, 2], True)
        for key in (sensor.id, "PI-7.PV"):
            newest = await call("list_anomalies", sensor_id=key, limit=2)
            assert ([row["value"] for row in newest["results"]], newest["more"]) == ([3, 2], True)
        version = (await call("list_models"))["results"][0]["champion"]
        compared = await call("compare_versions", first=version, second=version)
        assert compared["champion"] == version
        assert compared["metrics"]["metrics.mae"][0] == compared["metrics"]["metrics.mae"][1]

    talk(client, conversation)


def test_a_damage_training_returns_the_address_of_its_report(client: Millwright, tmp_path: Path) -> None:
    archive = tmp_path / "plant.zip"
    archive.write_bytes(zip_of_recordings())
    data = client.datasets.upload(archive, sampling_rate_hz=50)["id"]
    numbers: list[int] = []

    async def conversation(session: Client, call: Call) -> None:
        arguments = {"data": data, "model_type": "cnn", "name": "asked"}
        asked = await call("train_damage_model", **arguments)
        assert (asked["done"], asked["would_change"]["model"]) == (False, "damage/asked")
        done = await call("train_damage_model", **arguments, confirmation=asked["confirmation"])
        numbers.append(done["training_session_id"])
        assert done["report"] == f"{client.connection.location}/train/sessions/{numbers[0]}/report.html"

    talk(client, conversation)
    (number,) = numbers
    eventually(lambda: client.session(number).state in ("failed", "rejected", "completed"))
    report = f"{client.connection.location}/train/sessions/{number}/report.html"
    assert "damage/asked" in requests.get(report, timeout=60).text


def test_http_serves_the_same_tools_to_this_machine_only(client: Millwright) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}/mcp"
    command = [sys.executable, "-m", "cli", "mcp", "--http", str(port), "--read-only"]
    with subprocess.Popen([*command, "--url", client.connection.location], cwd=PROJECT) as process:
        try:

            def listens() -> bool:
                try:
                    return requests.get(address, headers={"Host": "evil.example"}, timeout=5).status_code > 0
                except requests.ConnectionError:
                    return False

            eventually(listens)
            foreign = requests.post(address, json={}, headers={"Host": "evil.example"}, timeout=5)
            assert foreign.status_code == 421

            async def ask() -> None:
                async with Client(address) as session:
                    names = {tool.name for tool in (await session.list_tools()).tools}
                    assert names == {*READING, *PLANT}
                    assert not (await session.call_tool("list_backups", {})).is_error

            run(ask)
        finally:
            process.terminate()


def test_a_confirmation_expires() -> None:
    now = [0.0]
    confirmations = Confirmations(lambda: now[0])
    token = confirmations.issue("restore_backup", "backup_1", {"name": "backup_1"})
    now[0] = LIFETIME_SECONDS + 2
    with pytest.raises(InvalidToken, match="expired"):
        confirmations.require(token, "restore_backup", {"name": "backup_1"})
    for text in ("", "restore_backup backup_1 #", token.replace("backup_1", "backup_2")):
        with pytest.raises(InvalidToken, match="another call"):
            confirmations.require(text, "restore_backup", {"name": "backup_1"})
