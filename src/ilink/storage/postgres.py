"""A PostgreSQL database: a bounded pool of connections, one round trip per unit of work, errors in our words.

Statements are prepared once per connection. Nothing relies on the session between two of them but the search path, so a
pooler in transaction mode may stand in between: one that sets it, with `prepared=off` in the URL if it cannot keep
statements, and `direct=HOST:PORT` for `listening`, which needs a connection of its own that is not pooled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar

from ilink.errors import ConfigError, StoreError, StoreUnavailableError
from ilink.storage.postgres_url import PostgresUrl

try:
    import asyncpg
except ImportError as error:
    message = "a PostgreSQL database needs a driver that is not installed: pip install 'ilink[postgres]'"
    raise ConfigError(message) from error

from ilink.storage.postgres_errors import DRIVER_ERRORS, lost_connection, nothing_happened, translate, translated
from ilink.storage.postgres_hints import PostgresHints
from ilink.storage.postgres_migrations import Migration, check_path, check_schema, migrate, migrations

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    _BareConnection = asyncpg.Connection[asyncpg.Record]
else:  # a plain class at run time
    _BareConnection = asyncpg.Connection

__all__ = ["Connection", "PostgresDatabase", "Row"]

T = TypeVar("T")
Row: TypeAlias = "asyncpg.Record"
"""A row: its columns by name or place."""
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
"""A connection inside a transaction."""

_ATTEMPTS: Final = 3
"""How often a statement is tried whose effects the server undid because of others, or that reads."""
_PROOF_BYTES: Final = 256 << 10
"""So much room is asked for when it is in doubt."""
_MARGIN: Final = 5.0
"""Seconds that the server has for cancelling a statement itself, before the connection is given up."""


class _Connection(_BareConnection):
    """A connection that is put back without a round trip: nothing here changes its session."""

    def get_reset_query(self) -> str:
        """Nothing is to be reset."""
        return ""


class PostgresDatabase:
    """One schema in one PostgreSQL database; open it with `async with`. That applies migrations, unless told not to.

    Args:
        url: `postgresql://user:password@host:5432/database`, with what the driver knows (`sslmode`, several hosts…)
            and settings of our own: `schema` (the PostgreSQL schema; `ilink`), `pool` (connections at most; 10),
            `prepared=off` and `direct=HOST:PORT`. The password is never shown.
        schema: The name of the folder of migrations below `ilink/storage/migrations/postgres`. "local" lies in the
            PostgreSQL schema itself, every other one beside it: `ilink_gateway`.
        statement_timeout: Seconds after which the server gives a statement up.
        connect_timeout: Seconds after which a connection that does not open is given up.
        steps: The migrations; those of the schema unless a test says otherwise.
        migrates: Whether the schema is made and brought up to date. Otherwise it has to be as this version wants it,
            and the server may be a replica: for whoever only looks.

    Raises:
        ConfigError: The URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "local",
        statement_timeout: float = 30.0,
        connect_timeout: float = 10.0,
        steps: Sequence[Migration] | None = None,
        migrates: bool = True,
    ) -> None:
        self._url = PostgresUrl.parse(url)
        self._namespace = self._url.namespace if schema == "local" else f"{self._url.namespace}_{schema}"
        self._place = f"{self._url.place} (schema {self._namespace})"
        self._statement_timeout = statement_timeout
        self._connect_timeout = connect_timeout
        self._steps = migrations(schema) if steps is None else tuple(steps)
        self._migrates = migrates
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._hints = PostgresHints(self._connect, place=self._place)
        self._exits = AsyncExitStack()
        self._refusals = 0
        self._proven = 0

    @property
    def place(self) -> str:
        """Where it is, for people: without the password."""
        return self._place

    @property
    def namespace(self) -> str:
        """The PostgreSQL schema that everything lies in; it is the search path of every connection."""
        return self._namespace

    async def __aenter__(self) -> Self:
        """Connect, look whether the server will do, and bring the schema up to date.

        Raises:
            StoreUnavailableError: The server cannot be reached, or takes no writes for now.
            StoreError: It refused the user, has no such database, or is too old; or there is no schema, or an older
                version's, and it is not to be made.
            StoreCorruptError: The schema was made by a newer version of ilink.
        """
        with translated(self._place, was_asked=False):
            connection = await self._connect()
            try:
                prepare = migrate if self._migrates else check_schema
                await prepare(connection, self._steps, namespace=self._namespace, place=self._place)
            finally:
                await connection.close(timeout=self._connect_timeout)
            self._pool = await asyncpg.create_pool(
                self._url.driver_url,
                min_size=0,
                max_size=self._url.connections,
                connection_class=_Connection,
                **self._settings(),
            )
            await self._check_pool(self._pool)
        self._exits.push_async_callback(self._hints.aclose)
        return self

    async def _check_pool(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Make sure that what goes through a pooler finds our schema, too."""
        try:
            async with pool.acquire(timeout=self._connect_timeout) as connection:
                await check_path(connection, namespace=self._namespace, place=self._place)
        except BaseException:
            self._pool = None
            pool.terminate()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Later calls raise StoreError."""
        pool, self._pool = self._pool, None
        await self._exits.aclose()
        if pool is not None:
            # One that hangs must not keep a program from ending.
            try:
                async with asyncio.timeout(self._connect_timeout):
                    await pool.close()
            except DRIVER_ERRORS:
                pool.terminate()

    async def read(self, statement: str, *values: object) -> list[Row]:
        """Return the rows of a statement that only reads; it is asked again if the connection was cut meanwhile.

        Raises:
            StoreError: The database could not be asked.
        """
        return await self._run(lambda connection: connection.fetch(statement, *values), is_read=True)

    async def read_row(self, statement: str, *values: object) -> Row | None:
        """Return the first row of a statement that only reads, or None; see `read`."""
        return await self._run(lambda connection: connection.fetchrow(statement, *values), is_read=True)

    async def write(self, statement: str, *values: object) -> list[Row]:
        """Run one statement in a transaction of its own and return its rows, once that is committed.

        It is tried again where the server undid it because of what others did at the same time.

        Raises:
            StoreUnavailableError: The database took nothing; with `is_uncertain`, the connection was cut before the
                answer came, and the statement may have been committed.
            StoreError: The database refused the statement; nothing was stored.

        Cancellation: the statement is stored or not, never in part.
        """
        return await self._run(lambda connection: connection.fetch(statement, *values))

    async def write_row(self, statement: str, *values: object) -> Row | None:
        """Run one statement in a transaction of its own and return its first row, or None; see `write`."""
        return await self._run(lambda connection: connection.fetchrow(statement, *values))

    async def execute(self, statement: str, *values: object) -> int:
        """Run one statement in a transaction of its own and return how many rows it touched; see `write`."""
        status = await self._run(lambda connection: connection.execute(statement, *values))
        return int(status.rpartition(" ")[2]) if status[-1:].isdecimal() else 0

    async def prove_room(self) -> None:
        """After statements were refused, write something that needs room on the disk, until that is taken once.

        A small write may find room in pages that are there when messages do not.

        Raises:
            StoreError: It was not taken.
        """
        refusals = self._refusals
        if refusals != self._proven:
            await self.execute("SELECT prove_room($1)", _PROOF_BYTES)
            self._proven = refusals

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Run several statements in one transaction: for what one statement or function cannot do in a round trip.

        It is committed at the end and undone by whatever is raised inside. Nothing is tried again.

        Raises:
            StoreError: As `write`; nothing is stored unless `is_uncertain` says that it may be.
        """
        with translated(self._place):
            async with self._open_pool().acquire(timeout=self._connect_timeout) as connection, connection.transaction():
                yield connection

    def channel(self, name: str) -> str:
        """Return a name for hints that no other schema of the same database uses."""
        return f"{self._namespace}_{name}"

    def notify(self, channel: str, payload: str) -> None:
        """Send a hint to whoever listens, in this process and others; it may get lost.

        It is sent beside all writes, in one round trip with what comes up meanwhile: a hint inside a transaction makes
        all transactions of the database wait for each other. So call this after the write.

        Args:
            channel: What the hint is about; see `listening`.
            payload: One line, 200 bytes or fewer.
        """
        self._hints.notify(self.channel(channel), payload)

    @asynccontextmanager
    async def listening(
        self, channel: str, callback: Callable[[str], None], *, on_gap: Callable[[], None] | None = None
    ) -> AsyncGenerator[None]:
        """Call something with every hint that comes in, while inside.

        Args:
            channel: What the hints are about.
            callback: Called in the event loop with each payload; it must not block.
            on_gap: Called when hints may have been lost: after the connection for them was made anew.
        """
        async with self._hints.listening(self.channel(channel), callback, on_gap=on_gap):
            yield

    async def _run(self, ask: Callable[[Connection], Awaitable[T]], *, is_read: bool = False) -> T:
        attempt = 1
        while True:
            was_asked = False
            try:
                async with self._open_pool().acquire(timeout=self._connect_timeout) as connection:
                    was_asked = True
                    return await ask(connection)
            except DRIVER_ERRORS as error:
                may_repeat = nothing_happened(error) or (is_read and was_asked and lost_connection(error))
                if not may_repeat or attempt == _ATTEMPTS:
                    refusal = translate(error, self._place, was_asked=was_asked and not is_read)
                    self._refusals += isinstance(refusal, StoreUnavailableError)
                    raise refusal from error
            attempt += 1

    def _open_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            message = f"the database {self._place} is closed"
            raise StoreError(message)
        return self._pool

    async def _connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """Open a connection that is not the pool's."""
        return await asyncpg.connect(self._url.direct_url, **self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "timeout": self._connect_timeout,
            "command_timeout": self._statement_timeout + _MARGIN,
            "statement_cache_size": 256 if self._url.is_prepared else 0,
            "max_cached_statement_lifetime": 0,
            "server_settings": {
                "application_name": "ilink",
                "search_path": self._namespace,
                "statement_timeout": str(int(self._statement_timeout * 1000)),
                "idle_in_transaction_session_timeout": "60000",
                # Plans are kept for long, and a table of a day that was empty then is not empty for long.
                "enable_seqscan": "off",
                "jit": "off",  # statements are short; compiling one costs more than it saves
                "timezone": "UTC",
            },
        }
