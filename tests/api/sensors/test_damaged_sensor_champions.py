"""A sensor's damaged champion is told by the answer, by health and by the gauge of its own tenant, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.conftest import open_app, settings_in

START = datetime(2026, 1, 5, tzinfo=UTC)


class Tenant:
    """The client of one tenant, with a sensor that has an anomaly model."""

    def __init__(self, app: Flask, name: str) -> None:
        self.app, self.name = app, name
        self.client: FlaskClient = app.test_client()
        secret, _ = app.extensions["millwright"].keys.create("admin", tenant=name)
        self.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        made = self.client.post("/api/sensors/", json={"name": "Pressure", "type": "Pressure"})
        self.sensor = made.json["id"]
        self.train()

    def train(self, offset: float = 0.0) -> None:
        first = START + timedelta(days=offset * 20)
        readings = [
            {
                "sensor_id": self.sensor,
                "raw_value": 50 + n % 7 / 10,
                "timestamp": (first + timedelta(hours=n)).isoformat(),
            }
            for n in range(300)
        ]
        assert self.client.post("/api/readings/?detect=false", json=readings).status_code == 201
        body = {"sensor_id": self.sensor, "model_type": "anomaly"}
        answer = self.client.post("/api/model-training/", json=body)
        assert answer.json["results"][0]["trained"], answer.json

    def detect(self) -> dict[str, object]:
        body = {"sensor_id": self.sensor, "reading_value": 51.0}
        answer: dict[str, object] = self.client.post(
            "/api/enhanced-anomaly-detection/?store=0", json=body
        ).json
        return answer

    @property
    def problems(self) -> list[str]:
        found: list[str] = self.client.get("/health").json["problems"]
        return found

    def counts_damaged(self, number: int) -> bool:
        line = f'millwright_champions_damaged{{family="sensors",tenant="{self.name}"}} {number}.0'
        return line in self.client.get("/metrics").text

    def champion_file(self) -> Path:
        versions = self.app.extensions["millwright"].storage.versions
        (path,) = [path for path in versions.paths() if path.startswith(f"{self.name}/sensors/")]
        champion = versions.champion(path)
        files = [file for file in champion.folder.iterdir() if file.name != "manifest.json"]
        return max(files, key=lambda file: file.stat().st_size)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    yield from open_app(settings_in(tmp_path_factory.mktemp("damaged")))


@pytest.fixture(scope="module")
def tenants(app: Flask) -> tuple[Tenant, Tenant]:
    return Tenant(app, "default"), Tenant(app, "other")


def damage(file: Path) -> bytes:
    """Flip a bit in the middle of a file that no worker has in memory any more; return the bytes it had."""
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    return whole


def forget_models(app: Flask) -> None:
    """Let this worker be as one that has just started."""
    app.extensions["millwright"].model_cache._models.clear()


def test_a_damaged_champion_of_a_sensor_is_told_in_its_tenant_only(
    app: Flask, tenants: tuple[Tenant, Tenant]
) -> None:
    plant, other = tenants
    assert plant.problems == other.problems == []
    file = other.champion_file()
    whole = damage(file)
    forget_models(app)

    answer = other.detect()
    assert answer["model_used"] == "threshold"
    assert "is damaged" in str(answer["fallback_reason"])
    assert any(problem.startswith("The champion of sensors/") for problem in other.problems)
    assert other.counts_damaged(1) and plant.counts_damaged(0)
    reload = other.client.post("/train/reload")
    assert (reload.status_code, reload.json["models_loaded"]) == (500, False)
    assert "sensors/2-anomaly is damaged" in str(reload.json["reasons"])
    assert other.counts_damaged(1), "a reload mends nothing"

    assert plant.detect()["fallback_reason"] is None
    assert plant.client.post("/train/reload").status_code == 200
    assert plant.problems == [
        "1 champions of other tenants cannot be read: GET /health with their keys names them"
    ]

    file.write_bytes(whole)
    assert other.client.post("/train/reload").status_code == 200
    assert plant.problems == other.problems == []
    assert other.counts_damaged(0)
    assert other.detect()["fallback_reason"] is None


def test_an_earlier_version_that_answers_for_it_hides_nothing(
    app: Flask, tenants: tuple[Tenant, Tenant]
) -> None:
    plant, other = tenants
    plant.train(offset=1)
    damage(plant.champion_file())
    forget_models(app)
    answer = plant.detect()
    assert answer["model_version"] == 1
    assert "Version 1 answers instead" in str(answer["fallback_reason"])
    assert any(problem.startswith("The champion of sensors/") for problem in plant.problems)
    assert plant.counts_damaged(1)
    assert other.client.post("/train/reload").status_code == 200
    assert other.problems == []
    plant.train(offset=2)
    assert plant.problems == []
    assert plant.counts_damaged(0)
