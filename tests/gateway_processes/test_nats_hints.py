"""Hints through NATS: the same as through the database, and no worse without the server."""

from __future__ import annotations

import asyncio

import pytest
from processes_house import open_pair, texts

from ilink.errors import ConfigError, StoreUnavailableError
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.storage.postgres import PostgresDatabase


async def test_a_poll_at_another_process_is_woken_through_nats(postgres_url, nats, tmp_path, monkeypatch):
    monkeypatch.setattr(PostgresDatabase, "notify", lambda *_: pytest.fail("a hint went through the database"))
    async with open_pair(postgres_url, tmp_path, hints_url=nats.url, sweep_seconds=3600.0) as pair:
        bot = await pair.bot()
        older = await pair.held(bot, pair.one)
        held = await pair.held(bot, pair.other)

        await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hello")

        assert texts(await held) == ["hello"]
        assert (await older)["msgs"] == []


async def test_messages_arrive_while_nats_is_away_and_hints_come_back_with_it(postgres_url, nats, tmp_path):
    async with open_pair(postgres_url, tmp_path, hints_url=nats.url, sweep_seconds=0.1) as pair:
        bot = await pair.bot()
        held = await pair.held(bot, pair.other)
        nats.stop()
        await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="without")
        assert texts(await held) == ["without"]

        nats.start()

        seen: list[str] = []
        pair.other.gateway.state.peers.hear("entry", seen.append)

        async with asyncio.timeout(30):
            while not seen:
                pair.one.gateway.state.peers.tell("entry", "1")
                await asyncio.sleep(0.05)


async def test_a_gateway_without_its_server_for_hints_does_not_start(postgres_url, tmp_path):
    options = ServerOptions(database_url=postgres_url, data=tmp_path, hints_url="nats://127.0.0.1:1")
    with pytest.raises(StoreUnavailableError, match="hints"):
        await GatewayServer(options).__aenter__()


async def test_an_address_for_hints_that_is_none_is_refused(postgres_url, tmp_path):
    options = ServerOptions(database_url=postgres_url, data=tmp_path, hints_url="redis://127.0.0.1")
    with pytest.raises(ConfigError, match="nats://"):
        await GatewayServer(options).__aenter__()
