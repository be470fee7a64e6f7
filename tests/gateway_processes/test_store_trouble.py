"""A database that goes away, hangs or cuts connections: nobody is told of success that was none, and all comes back."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from processes_house import Bot, open_pair, texts

from ilink.errors import ConfigError, StoreError
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.storage.postgres import PostgresDatabase


async def is_ready(pair, server: GatewayServer) -> bool:
    async with pair.session.get(f"{server.info.control_url}/readyz") as response:
        return response.status == 200


async def are_ready(pair) -> None:
    """Wait until both gateways say that they are."""
    async with asyncio.timeout(60):
        while not (await is_ready(pair, pair.one) and await is_ready(pair, pair.other)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def post(pair, server: GatewayServer, bot: Bot, text: str) -> int:
    url = f"{server.info.control_url}/_sim/people/{bot.user_id}/messages"
    async with pair.session.post(url, json={"bot_id": bot.bot_id, "text": text}) as response:
        return response.status


async def test_a_restart_of_the_database_costs_refusals_and_nothing_else(own_postgres, tmp_path):
    async with open_pair(own_postgres.url(), tmp_path, sweep_seconds=0.2) as pair:
        bot = await pair.bot()
        assert await post(pair, pair.one, bot, "before") == 201
        assert texts(await bot.poll(pair.one)) == ["before"]
        held = await pair.held(bot, pair.other)

        await asyncio.to_thread(own_postgres.stop)
        assert not await is_ready(pair, pair.one)
        refused = await bot.send(pair.one, "meanwhile", "m-1")
        assert refused["status"] == 503
        assert refused["ret"] != 0
        assert await post(pair, pair.one, bot, "lost?") >= 500
        await asyncio.to_thread(own_postgres.start)

        await are_ready(pair)
        assert await post(pair, pair.one, bot, "after") == 201
        assert texts(await held) == ["after"]
        assert (await bot.send(pair.other, "meanwhile", "m-1"))["ret"] == 0
        entries = await pair.one.gateway.transcript(bot.bot_id, bot.user_id)
        assert [entry.items[0].text for entry in entries] == ["before", "after", "meanwhile"]


async def test_what_was_acknowledged_while_connections_are_cut_is_there(own_postgres, tmp_path):
    async with (
        open_pair(own_postgres.url(), tmp_path, sweep_seconds=0.2) as pair,
        PostgresDatabase(own_postgres.url("elsewhere"), schema="gateway") as cutter,
    ):
        bot = await pair.bot()
        assert await post(pair, pair.one, bot, "first") == 201
        posted, sent, is_over = ["first"], list[str](), asyncio.Event()

        async def cut() -> None:
            for _ in range(8):
                await cutter.read(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND backend_type = 'client backend'"
                )
                await asyncio.sleep(0.1)
            is_over.set()

        cutting = asyncio.create_task(cut())
        n = 0
        while not is_over.is_set() or n < 20:
            n += 1
            server = (pair.one, pair.other)[n % 2]
            if await post(pair, server, bot, f"in {n}") == 201:
                posted.append(f"in {n}")
            answer = await bot.send(server, f"out {n}")
            if answer["status"] == 200 and answer["ret"] == 0:
                sent.append(f"out {n}")
            await asyncio.sleep(0.02)
        await cutting

        got: list[str] = []
        while not set(posted) <= set(got):
            answer = await bot.poll(pair.other)
            if answer["status"] == 200:
                got += texts(answer)
        assert [text for text in dict.fromkeys(got) if text in posted] == posted
        entries = await pair.one.gateway.transcript(bot.bot_id, bot.user_id, limit=10_000)
        shown = [entry.items[0].text for entry in entries if entry.direction == "out"]
        assert [text for text in shown if text in sent] == sent


async def test_a_database_that_hangs_is_told_by_the_readiness_check_and_waited_for(own_postgres, tmp_path, monkeypatch):
    monkeypatch.setattr("ilink.gateway.service._READY_SECONDS", 0.3)
    async with open_pair(own_postgres.url(), tmp_path) as pair:
        bot = await pair.bot()
        assert await post(pair, pair.one, bot, "hi") == 201
        own_postgres.freeze()
        try:
            assert not await is_ready(pair, pair.one)
            slow = asyncio.create_task(bot.send(pair.one, "slow"))
            await asyncio.sleep(0.2)
            assert not slow.done()
        finally:
            own_postgres.thaw()

        assert (await slow)["ret"] == 0
        await are_ready(pair)


async def test_hints_are_heard_again_after_their_connection_was_cut(own_postgres, tmp_path):
    async with open_pair(own_postgres.url(), tmp_path, sweep_seconds=3600.0) as pair:
        bot = await pair.bot()
        held = await pair.held(bot, pair.other)
        await asyncio.to_thread(own_postgres.restart)
        await are_ready(pair)

        # Nothing is swept here: what is found was told, or looked for because the connection had been away.
        assert await post(pair, pair.one, bot, "hello") == 201
        assert texts(await held) == ["hello"]


async def test_what_was_told_while_nobody_could_hear_is_looked_for_afterwards(own_postgres, tmp_path, monkeypatch):
    async with open_pair(own_postgres.url(), tmp_path, sweep_seconds=3600.0) as pair:
        bot = await pair.bot()
        held = await pair.held(bot, pair.other)
        with monkeypatch.context() as deaf:
            deaf.setattr(PostgresDatabase, "notify", lambda *_: None)
            assert await post(pair, pair.one, bot, "hello") == 201
        assert not held.done()

        await asyncio.to_thread(own_postgres.restart)

        assert texts(await held) == ["hello"]


def taken_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def refusal(tmp_path: Path, **options) -> str:
    """What a gateway says that does not start; and nobody can connect to where it would have listened."""
    port = taken_port()
    with pytest.raises((ConfigError, StoreError)) as refused:
        await GatewayServer(ServerOptions(listen=f"127.0.0.1:{port}", data=tmp_path, **options)).__aenter__()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    return str(refused.value)


async def test_a_database_that_cannot_be_used_is_refused_in_words_before_anything_listens(postgres_url, tmp_path):
    assert "cannot be reached" in await refusal(tmp_path, database_url="postgresql://u:secret@127.0.0.1:1/x")
    assert "cannot be read" in await refusal(tmp_path, database_url="mysql://u:secret@h/x")
    nowhere = postgres_url.replace("/postgres?", "/nowhere?")
    assert "create it" in await refusal(tmp_path, database_url=nowhere)
    assert "secret" not in await refusal(tmp_path, database_url="postgresql://u:secret@127.0.0.1:1/x")
    assert "share a database" in await refusal(tmp_path, hints_url="nats://127.0.0.1:1")


async def test_a_newer_schema_is_refused(postgres_url, tmp_path):
    async with PostgresDatabase(postgres_url, schema="gateway") as database:
        await database.execute("INSERT INTO ilink_migrations VALUES (9999, 'later', 'x', now())")

    assert "newer version" in await refusal(tmp_path, database_url=postgres_url)


async def test_a_replica_is_refused(own_postgres, tmp_path):
    async with PostgresDatabase(own_postgres.url(), schema="gateway"):
        pass
    await asyncio.to_thread(own_postgres.become_replica)

    assert "replica" in await refusal(tmp_path, database_url=own_postgres.url())
