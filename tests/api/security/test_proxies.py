"""Behind a proxy everybody seems to be local: who may do what is decided by the real caller."""

from __future__ import annotations

from pathlib import Path

import pytest

import app as server
from errors import ConfigurationError
from tests.api.conftest import open_app, settings_in
from training_manager import open_manager

PROXIED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "plant.example",
    "X-Forwarded-Proto": "https",
}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"allowed_hosts": ("plant.example",)}, "names plant.example"), ({"trusted_proxies": 1}, "is set")],
)
def test_a_server_behind_a_proxy_does_not_start_without_keys(tmp_path: Path, changes, cause):
    settings = settings_in(tmp_path, **changes)
    manager = open_manager(settings)
    with pytest.raises(ConfigurationError, match=cause):
        server._refuse_network_without_keys(settings, manager)
    manager.keys.create("admin")
    server._refuse_network_without_keys(settings, manager)
    manager.close_storage()


def test_other_names_of_this_machine_need_no_keys(tmp_path: Path):
    settings = settings_in(tmp_path, allowed_hosts=("localhost",))
    manager = open_manager(settings)
    server._refuse_network_without_keys(settings, manager)
    manager.close_storage()
    for app in open_app(settings):
        assert app.test_client().get("/models", headers={"Host": "localhost"}).status_code == 200


def test_a_caller_behind_a_trusted_proxy_is_not_this_machine(tmp_path: Path):
    for app in open_app(settings_in(tmp_path, trusted_proxies=1, allowed_hosts=("plant.example",))):
        client = app.test_client()
        assert client.get("/models").status_code == 200
        assert client.get("/models", headers=PROXIED).status_code == 401
        claimed = {**PROXIED, "X-Forwarded-For": "127.0.0.1, 203.0.113.9"}
        assert client.get("/models", headers=claimed).status_code == 401


def test_the_rate_limit_counts_callers_and_not_the_proxy(tmp_path: Path):
    for app in open_app(
        settings_in(tmp_path, trusted_proxies=1, rate_limit=2, allowed_hosts=("plant.example",))
    ):
        client = app.test_client()
        statuses = [client.get("/models", headers=PROXIED).status_code for _ in range(3)]
        assert statuses == [401, 401, 429]
        other = {**PROXIED, "X-Forwarded-For": "203.0.113.10"}
        assert client.get("/models", headers=other).status_code == 401


def test_without_the_setting_forwarded_headers_count_for_nothing(tmp_path: Path):
    for app in open_app(settings_in(tmp_path)):
        assert app.test_client().get("/models", headers=PROXIED).status_code == 200
