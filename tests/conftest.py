"""What tests of every room may ask for: a database of their own on a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture(scope="session", autouse=True)
def no_tracking() -> Iterator[None]:
    """Sessions are not tracked, which would start a process for each: tests of tracking ask for it."""
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
