"""A database whose disk fills up, or that takes no writes for a while, under gateways that run on."""

from __future__ import annotations

import asyncio

from processes_house import open_pair, texts
from test_store_trouble import are_ready, is_ready, post
from tests.disks import admin


async def test_a_full_disk_is_refused_for_what_must_be_stored_and_told_until_there_is_room(
    own_postgres, small_disk, tmp_path
):
    async with open_pair(own_postgres.url(), tmp_path, sweep_seconds=0.2) as pair:
        bot = await pair.bot()
        assert await post(pair, pair.one, bot, "before") == 201
        await small_disk.take_tables()
        small_disk.fill()

        stored, refused = ["before"], ""
        while not refused:
            text = f"{len(stored)} " + "x" * 3000
            if await post(pair, pair.one, bot, text) == 201:
                stored.append(text)
            else:
                refused = text
        assert await post(pair, pair.other, bot, refused) == 503
        answer = await bot.send(pair.one, "y" * 3000, "m-1")
        assert (answer["status"], answer["ret"] != 0) == (503, True)
        answer = await bot.call(
            pair.other,
            "getuploadurl",
            {
                "filekey": "f" * 32,
                "media_type": 1,
                "to_user_id": bot.user_id,
                "rawsize": 16,
                "rawfilemd5": "0" * 32,
                "filesize": 16,
                "aeskey": "0" * 32,
            },
        )
        assert answer["status"] in (200, 503)  # a row as small as that may find room in a page that is there
        assert not await is_ready(pair, pair.one)
        assert not await is_ready(pair, pair.other)
        got = list[str]()
        while len(got) < len(stored):
            got += texts(await bot.poll(pair.other))
        assert got == stored

        small_disk.make_room()
        await are_ready(pair)
        assert await post(pair, pair.other, bot, refused) == 201
        assert texts(await bot.poll(pair.one)) == [refused]
        assert (await bot.send(pair.one, "y" * 3000, "m-1"))["ret"] == 0
        entries = await pair.one.gateway.transcript(bot.bot_id, bot.user_id, limit=10_000)
        assert [entry.items[0].text for entry in entries] == [*stored, refused, "y" * 3000]


async def test_a_server_that_takes_no_writes_for_a_while_refuses_them_and_nothing_else(own_postgres, tmp_path):
    async with open_pair(own_postgres.url(), tmp_path, sweep_seconds=0.2) as pair:
        bot = await pair.bot()
        assert await post(pair, pair.one, bot, "before") == 201
        await admin(own_postgres, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        await unready(pair)

        assert await post(pair, pair.one, bot, "meanwhile") == 503
        assert (await bot.send(pair.other, "meanwhile", "m-1"))["status"] == 503
        qr = f"{pair.one.info.api_url}/ilink/bot/get_bot_qrcode?bot_type=3"
        async with pair.session.post(qr, json={}) as response:
            assert response.status == 503
        assert texts(await bot.poll(pair.other)) == ["before"]

        await admin(own_postgres, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        await are_ready(pair)
        assert (await bot.send(pair.other, "meanwhile", "m-1"))["ret"] == 0
        entries = await pair.one.gateway.transcript(bot.bot_id, bot.user_id)
        assert [entry.items[0].text for entry in entries] == ["before", "meanwhile"]


async def test_a_primary_that_becomes_a_replica_and_is_promoted_is_written_to_again(own_postgres, tmp_path):
    async with open_pair(own_postgres.url(), tmp_path, sweep_seconds=0.2) as pair:
        bot = await pair.bot()
        assert await post(pair, pair.one, bot, "before") == 201
        await asyncio.to_thread(own_postgres.become_replica)

        assert await post(pair, pair.one, bot, "meanwhile") == 503
        assert (await bot.send(pair.other, "meanwhile", "m-1"))["status"] == 503
        assert not await is_ready(pair, pair.one)
        assert texts(await bot.poll(pair.other)) == ["before"]

        await admin(own_postgres, "SELECT pg_promote()")
        await are_ready(pair)
        assert await post(pair, pair.one, bot, "after") == 201
        assert texts(await bot.poll(pair.one)) == ["after"]


async def unready(pair) -> None:
    """Wait until both gateways say that they are not ready."""
    async with asyncio.timeout(60):
        while await is_ready(pair, pair.one) or await is_ready(pair, pair.other):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
