"""Cost markers for every test, and a PostgreSQL schema of its own for those that ask for one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import ONE_COMPUTE_THREAD
from storage.db.migrations import upgrade

# Before a library reads them: what trains or predicts in this process does so as in the processes of a server,
# to the bit, and the workers of pytest do not crowd the processor.
os.environ.update(ONE_COMPUTE_THREAD)

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
        "client/",
        "cli/test_commands.py",
        "cli/test_continuous_training.py",
        "cli/test_mqtt.py",
        "cli/test_sensor_commands.py",
        "cli/test_export_savedmodel.py",
        "notifications/test_channels.py",
        "notifications/test_notifier_of_a_server.py",
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


TESTS = Path(__file__).parent


def cost_of(item: pytest.Item) -> str:
    """Return the cost marker of a test; empty where it is cheap."""
    path = item.path.relative_to(TESTS).as_posix()
    if path.startswith(CHEAP):
        return ""
    return next((name for name, starts in COSTS.items() if path.startswith(starts)), "")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test with its cost."""
    if cost := cost_of(item):
        item.add_marker(cost)
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if "postgresql" in map(str, parameters.values()) or "postgres_url" in getattr(item, "fixturenames", ()):
        item.add_marker("postgres")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the expensive tests first, so that no worker ends alone with the longest module."""
    order = [*COSTS, ""]
    items.sort(key=lambda item: order.index(cost_of(item)))


@pytest.fixture(scope="session", autouse=True)
def no_tracking() -> Iterator[None]:
    """Turn tracking off, which would start a process for each session; tests of tracking turn it on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.tracking.outbox.is_installed", lambda: False)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_migrations() -> Iterator[None]:
    """Give a new SQLite file the tables as the migrations made them once: each time takes 50 ms."""
    script: list[str] = []

    def fill(connection: sa.Connection) -> None:
        if connection.dialect.name != "sqlite" or sa.inspect(connection).get_table_names():
            upgrade(connection)
        elif script:
            for statement in script:
                connection.exec_driver_sql(statement)
        else:
            upgrade(connection)
            lines = connection.connection.driver_connection.iterdump()
            script.extend(line for line in lines if line not in ("BEGIN TRANSACTION;", "COMMIT;"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("storage.db.database.upgrade", fill)
        yield


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """Return a file; a training of the tiny family with it as ``hold`` fits until it is gone."""
    file = tmp_path / "hold"
    file.touch()
    return file


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
