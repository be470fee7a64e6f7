"""What stands between a program and PostgreSQL, and what a program says about it.

The stand-in does what PgBouncer does by default: it ignores or refuses the settings of a connection, and gives out
numbers of its own for the processes of the server.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from ilink.errors import ConfigError, StoreError
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import Migration
from ilink.storage.postgres_url import PostgresUrl

STEPS = (Migration(1, "notes", "CREATE TABLE notes (name text PRIMARY KEY);"),)
_SSL_REQUEST = 80877103
_CANCEL_REQUEST = 80877102


class Pooler:
    """A pooler in front of a server: `url` leads through it."""

    def __init__(self, url: str, port: int) -> None:
        self._server = urlsplit(url)
        self.url = url.replace(f":{self._server.port}/", f":{port}/")
        self.direct = f"127.0.0.1:{self._server.port}"


@asynccontextmanager
async def pooler(url: str, *, sets_path: bool, refuses: str = "") -> AsyncIterator[Pooler]:
    """A pooler that lets the server look names up in our schema, or not; and may refuse a setting."""
    target = urlsplit(url)
    namespace = PostgresUrl.parse(url).namespace
    links: set[asyncio.Task[None]] = set()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        links.add(task)
        try:
            settings = await _greeted(reader, writer)
            if refuses and refuses in settings:
                writer.write(_error(f"unsupported startup parameter: {refuses}"))
                return
            kept = {name: settings[name] for name in ("user", "database")}
            if sets_path:
                kept["search_path"] = namespace
            upstream, server = await asyncio.open_connection(target.hostname, target.port)
            server.write(_startup(kept))
            await asyncio.wait(
                [asyncio.ensure_future(_copy(reader, server)), asyncio.ensure_future(_copy_back(upstream, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            server.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(link, "127.0.0.1", 0)
    try:
        yield Pooler(url, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        if links:
            await asyncio.wait(links, timeout=10)


async def _greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str]:
    while True:
        size, kind = struct.unpack("!ii", await reader.readexactly(8))
        body = await reader.readexactly(size - 8)
        if kind == _CANCEL_REQUEST:
            raise ConnectionResetError
        if kind != _SSL_REQUEST:
            words = body.decode().split("\0")
            return dict(zip(words[0::2], words[1::2], strict=False))
        writer.write(b"N")


def _startup(settings: dict[str, str]) -> bytes:
    body = (
        struct.pack("!i", 196608) + "".join(f"{name}\0{value}\0" for name, value in settings.items()).encode() + b"\0"
    )
    return struct.pack("!i", len(body) + 4) + body


def _error(words: str) -> bytes:
    body = f"SFATAL\0VFATAL\0C08P01\0M{words}\0\0".encode()
    return b"E" + struct.pack("!i", len(body) + 4) + body


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def _copy_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            if head[:1] == b"K":
                body = struct.pack("!i", 7) + body[4:]
            writer.write(head + body)
    except (OSError, asyncio.IncompleteReadError):
        return


async def tables_in_public(url: str) -> list[str]:
    connection = await asyncpg.connect(PostgresUrl.parse(url).driver_url)
    try:
        return [
            row[0]
            for row in await connection.fetch("SELECT relname FROM pg_class WHERE oid = to_regclass('public.notes')")
        ]
    finally:
        await connection.close()


async def test_a_pooler_that_ignores_where_names_are_looked_up_is_refused_before_anything_is_made(
    postgres_url: str,
) -> None:
    async with pooler(postgres_url, sets_path=False) as between:
        with pytest.raises(StoreError, match=r"SET search_path = .*connect_query"):
            async with PostgresDatabase(between.url, steps=STEPS):
                pass
        with pytest.raises(StoreError, match=r"SET search_path = .*connect_query"):
            async with PostgresDatabase(f"{between.url}&direct={between.direct}", steps=()):
                pass
    assert await tables_in_public(postgres_url) == []


async def test_a_pooler_that_refuses_a_setting_is_told_of(postgres_url: str) -> None:
    async with pooler(postgres_url, sets_path=True, refuses="search_path") as between:
        with pytest.raises(StoreError, match="ignore_startup_parameters") as refused:
            async with PostgresDatabase(between.url, steps=STEPS):
                pass
    assert not getattr(refused.value, "is_uncertain", False)


async def test_hints_go_past_the_pooler_when_it_is_known_what_is_behind_it(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    caplog.set_level(logging.WARNING)
    async with pooler(postgres_url, sets_path=True) as between:
        url = f"{between.url}&prepared=off&direct={between.direct}"
        async with PostgresDatabase(url, steps=STEPS) as database, database.listening("mail", heard.put_nowait):
            database.notify("mail", "look")
            async with asyncio.timeout(45):
                assert await heard.get() == "look"
    assert "pooler" not in caplog.text


async def test_hints_that_go_through_a_pooler_are_warned_of(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    caplog.set_level(logging.WARNING)
    async with (
        pooler(postgres_url, sets_path=True) as between,
        PostgresDatabase(f"{between.url}&prepared=off", steps=STEPS) as database,
        database.listening("mail", heard.append),
    ):
        pass
    assert "direct=HOST:PORT" in caplog.text
    assert caplog.text.count("a pooler stands between") == 1


@pytest.mark.parametrize("code", ["26000", "42P05"])
async def test_a_statement_that_a_pooler_lost_is_told_with_what_to_do(postgres_url: str, code: str) -> None:
    async with PostgresDatabase(postgres_url, steps=STEPS) as database:
        with pytest.raises(StoreError, match="prepared=off"):
            await database.execute(f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{code}'; END $$")


def test_what_is_behind_a_pooler_has_the_same_user_and_settings() -> None:
    url = PostgresUrl.parse("postgresql://me:hush%40@pool.example:6432/bots?direct=db.example:5433&sslmode=require")
    assert url.direct_url == "postgresql://me:hush%40@db.example:5433/bots?sslmode=require"
    assert url.driver_url == "postgresql://me:hush%40@pool.example:6432/bots?sslmode=require"
    assert "hush" not in repr(url)


@pytest.mark.parametrize("address", ["db.example", "db.example:", ":5432", "db.example:99999", "me@db.example:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        PostgresUrl.parse(f"postgresql://me@pool.example/bots?direct={address}")
