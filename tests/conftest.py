"""What all tests share: generated examples are the same in every run; `ILINK_EXAMPLES` makes them new and many.

`postgres_url` is the address of a fresh PostgreSQL schema, on a server that is started once, or on the one that
`ILINK_TEST_POSTGRES_URL` names. `own_postgres` and `nats` are servers that a test may stop. Where a server cannot be
started, such tests are skipped, unless `ILINK_REQUIRE_ENGINES` says that this is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import settings

from ilink.errors import ConfigError
from ilink.testing.engines import NatsEngine, PostgresEngine

settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("fresh", deadline=None, max_examples=int(os.environ.get("ILINK_EXAMPLES", "100")))
settings.load_profile("fresh" if "ILINK_EXAMPLES" in os.environ else "fixed")

_schemas = count(1)


def _started(engine):
    """Start an engine, or skip what needs it."""
    try:
        return engine().__enter__()
    except ConfigError as error:
        if "ILINK_REQUIRE_ENGINES" in os.environ:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def make_postgres_url() -> Iterator[Callable[[], str]]:
    """Makes addresses of fresh schemas, on one server for all tests."""
    if given := os.environ.get("ILINK_TEST_POSTGRES_URL"):
        mark = "&" if "?" in given else "?"
        yield lambda: f"{given}{mark}schema=test_{os.getpid()}_{next(_schemas)}"
        return
    engine = _started(lambda: PostgresEngine(max_connections="500"))
    yield lambda: engine.url(f"test_{next(_schemas)}")
    engine.__exit__()


@pytest.fixture
def postgres_url(make_postgres_url: Callable[[], str]) -> str:
    """The address of a schema that nobody has used; it is made when it is opened first."""
    return make_postgres_url()


@pytest.fixture
def own_postgres() -> Iterator[PostgresEngine]:
    """A PostgreSQL server that a test may stop, freeze and fill."""
    engine = _started(PostgresEngine)
    yield engine
    engine.__exit__()


@pytest.fixture
def nats() -> Iterator[NatsEngine]:
    """A NATS server that a test may stop."""
    engine = _started(NatsEngine)
    yield engine
    engine.__exit__()
