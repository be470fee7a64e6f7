"""What all tests share: generated examples are the same in every run; `ILINK_EXAMPLES` makes them new and many.

`postgres_url` is the address of a fresh PostgreSQL schema, on a server that is started once, or on the one that
`ILINK_TEST_POSTGRES_URL` names. `own_postgres` and `nats` are servers that a test may stop. Where a server cannot be
started, such tests are skipped, unless `ILINK_REQUIRE_ENGINES` says that this is a failure.

With `ILINK_TEST_STORE=postgres` every gateway that a test opens in its own process on a folder keeps its state in a
schema of its own instead, the same one for the same folder. A test that means the files says so with
`@pytest.mark.of_a_folder("why")` and is left out then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from ilink.errors import ConfigError
from ilink.testing.engines import NatsEngine, PostgresEngine
from tests.disks import SmallDisk, small_disk_for

settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("fresh", deadline=None, max_examples=int(os.environ.get("ILINK_EXAMPLES", "100")))
settings.load_profile("fresh" if "ILINK_EXAMPLES" in os.environ else "fixed")

_schemas = count(1)
ON_POSTGRES = os.environ.get("ILINK_TEST_STORE") == "postgres"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items if ON_POSTGRES else ():
        for mark in item.iter_markers("of_a_folder"):
            item.add_marker(pytest.mark.skip(reason=f"only on files: {mark.args[0]}"))


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
    engine = _started(lambda: PostgresEngine(max_connections="500", fsync="off", full_page_writes="off"))
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
def small_disk(own_postgres: PostgresEngine) -> Iterator[SmallDisk]:
    """A disk of a few megabytes that the server of the test may lay its tables on."""
    with small_disk_for(own_postgres) as disk:
        yield disk


@pytest.fixture
def nats() -> Iterator[NatsEngine]:
    """A NATS server that a test may stop."""
    engine = _started(NatsEngine)
    yield engine
    engine.__exit__()


_EMPTY = (
    "DELETE FROM meta; DELETE FROM person; DELETE FROM bot; DELETE FROM code; DELETE FROM entry; DELETE FROM chat;"
    "DELETE FROM read_mark; DELETE FROM context_token; DELETE FROM typing_ticket; DELETE FROM upload_ticket;"
    "DELETE FROM media; UPDATE entry_span SET begun_day = NULL; SELECT make_entry_span(0), make_entry_span(1),"
    " setval('entry_n', 1, false), setval(pg_get_serial_sequence('bot', 'id'), 1, false),"
    " setval(pg_get_serial_sequence('person', 'id'), 1, false)"
)
"""Leaves a schema as it was made; emptied tables of a few rows are ready in milliseconds, unlike truncated ones."""


class GatewaySchemas:
    """Schemas for the gateways of a test, one a folder; they are emptied after it and used again, for speed."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._free: list[str] = []
        self._used: dict[Path, str] = {}
        self._thread = ThreadPoolExecutor(1)  # with a loop of its own, beside the one of the tests
        self._loop = asyncio.new_event_loop()
        self._connection = None

    def of(self, folder: Path) -> str:
        """The schema that stands for a folder."""
        if folder not in self._used:
            self._used[folder] = self._free.pop() if self._free else self._make()
        return self._used[folder]

    def take_back(self) -> None:
        """Empty what the test used; what cannot be, because a gateway of it was killed for one, is left alone."""
        used, self._used = self._used, {}
        for url in used.values():
            if self._thread.submit(self._loop.run_until_complete, self._is_emptied(url)).result():
                self._free.append(url)

    def close(self) -> None:
        if self._connection is not None:
            self._thread.submit(self._loop.run_until_complete, self._connection.close()).result()
        self._thread.shutdown()
        self._loop.close()

    async def _is_emptied(self, url: str) -> bool:
        import asyncpg

        server, _, schema = url.partition("?schema=")
        if self._connection is None:
            self._connection = await asyncpg.connect(server, server_settings={"statement_timeout": "5000"})
        try:
            async with self._connection.transaction():
                await self._connection.execute(f"SET LOCAL search_path = {schema}_gateway;" + _EMPTY)
        except asyncpg.PostgresError:
            return False
        return True


@pytest.fixture(scope="session")
def gateway_schemas(make_postgres_url: Callable[[], str]) -> Iterator[GatewaySchemas]:
    schemas = GatewaySchemas(make_postgres_url)
    yield schemas
    schemas.close()


@pytest.fixture
def database_of(request: pytest.FixtureRequest) -> Callable[[Path], str | None]:
    """Tells the address of the database that stands for a folder; None where the folder itself is the store."""
    return request.getfixturevalue("gateway_schemas").of if ON_POSTGRES else lambda _folder: None


@pytest.fixture(autouse=True)
def _gateways_on_postgres(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not ON_POSTGRES:
        yield
        return
    from ilink.gateway import service
    from ilink.storage.gateway_stores import open_gateway_stores

    schemas: GatewaySchemas = request.getfixturevalue("gateway_schemas")

    def opened(folder: Path, *, database_url: str | None = None, **options):
        return open_gateway_stores(folder, database_url=database_url or schemas.of(folder), **options)

    monkeypatch.setattr(service, "open_gateway_stores", opened)
    yield
    schemas.take_back()
