"""Cost markers for every test, and a PostgreSQL schema of its own for those that ask for one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


COSTS = {
    "faults": (
        "faults/",
        "storage/test_crashes.py",
        "training/test_crashes.py",
        "test_previous_home.py",
        "scenarios/",
    ),
    "browser": ("browser/",),
    "server": (
        "test_app.py",
        "test_docs.py",
        "demo/",
        "cli/test_commands.py",
        "cli/test_continuous_training.py",
        "cli/test_mqtt.py",
        "cli/test_sensor_commands.py",
        "cli/test_export_savedmodel.py",
        "training/monitoring/test_scheduler_of_a_server.py",
    ),
    "torch": (
        "contract/",
        "prediction/damage/",
        "prediction/forecasting/",
        "prediction/rul/",
        "prediction/test_neural.py",
        "prediction/test_onnx.py",
        "training/monitoring/test_plants.py",
    ),
    "slow": (
        "api/",
        "prediction/sensors/test_sensor_sessions.py",
        "training/execution/",
        "training/test_batch.py",
        "training/test_session.py",
        "training/test_tracking.py",
        "training/test_training_manager.py",
        "training/monitoring/test_monitor.py",
    ),
}
"""The cost marker of test modules, by the beginning of their path: the most expensive kind comes first."""

CHEAP = ("api/http/", "api/security/", "api/test_description.py", "api/models/test_predict_routes.py")
"""Modules below a costly folder that `make test-fast` runs all the same."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its cost, keep modules together, and put the expensive ones first.

    With several workers a module runs in one of them, because its tests share fixtures. Tests that share
    nothing or only one family are spread, so that no worker is left alone with the longest module.
    """
    tests = Path(__file__).parent
    order = [*COSTS, ""]
    ranks = {}
    for item in items:
        path = item.path.relative_to(tests).as_posix()
        costly = () if path.startswith(CHEAP) else COSTS.items()
        cost = next((name for name, starts in costly if path.startswith(starts)), "")
        if cost:
            item.add_marker(cost)
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "postgresql" in map(str, parameters.values()) or "postgres_url" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker("postgres")
        if not path.startswith("faults/test_kill_at_every_step"):
            item.add_marker(pytest.mark.xdist_group(f"{path} {parameters.get('house', '')}".strip()))
        ranks[item] = order.index(cost)
    items.sort(key=ranks.__getitem__)


@pytest.fixture(scope="session", autouse=True)
def no_tracking() -> Iterator[None]:
    """Turn tracking off, which would start a process for each session; tests of tracking turn it on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.tracking.outbox.is_installed", lambda: False)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """Return the URL of a PostgreSQL; without one the test is skipped, and fails where CI runs."""
    engine = sa.create_engine(POSTGRESQL, connect_args={"connect_timeout": 2})
    try:
        engine.connect().close()
    except sa.exc.OperationalError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs a PostgreSQL at {POSTGRESQL}: {error}")
        pytest.skip(f"no PostgreSQL answers at {POSTGRESQL}")
    finally:
        engine.dispose()
    return POSTGRESQL


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Return the URL of an empty schema, dropped in the end."""
    with own_schema(postgres_server) as url:
        yield url


@contextmanager
def own_schema(server: str) -> Iterator[str]:
    """Return a new schema of a PostgreSQL; its URL."""
    schema = f"test_{secrets.token_hex(6)}"
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    url = sa.make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()
