"""The sensor tables are checked on a real SQLite and, where one answers, on a real PostgreSQL."""

import os
import secrets

import pytest
import sqlalchemy as sa

from storage.db.database import Database
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


def answers(url):
    try:
        with sa.create_engine(url, connect_args={"connect_timeout": 2}).connect():
            return True
    except sa.exc.SQLAlchemyError:
        return False


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "run")
        made.migrate()
        yield made
        made.close()
        return
    if not answers(POSTGRESQL):
        if os.environ.get("CI"):
            pytest.fail(f"CI needs a PostgreSQL at {POSTGRESQL}")
        pytest.skip(f"no PostgreSQL answers at {POSTGRESQL}")
    yield from own_schema(tmp_path)


def own_schema(tmp_path):
    schema = f"test_{secrets.token_hex(6)}"
    engine = sa.create_engine(POSTGRESQL)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    made = Database(f"{POSTGRESQL}?options=-csearch_path%3D{schema}", tmp_path / "run")
    made.migrate()
    yield made
    made.close()
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def sensors(database):
    return Sensors(database)


@pytest.fixture
def readings(database):
    return Readings(database)


@pytest.fixture
def calibrations(database):
    return Calibrations(database)


@pytest.fixture
def anomalies(database):
    return Anomalies(database)
