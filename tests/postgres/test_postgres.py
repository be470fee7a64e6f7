"""The PostgreSQL engine: one schema of one database, opened, used, cut and refused."""

from __future__ import annotations

import asyncio

from ilink.storage.postgres import PostgresDatabase


async def test_a_schema_is_made_when_it_is_opened_first(postgres_url):
    async with PostgresDatabase(postgres_url) as database:
        rows = await database.read("SELECT count(*) AS many FROM accounts")

    assert rows[0]["many"] == 0


async def test_hints_of_one_process_reach_another(postgres_url):
    async with PostgresDatabase(postgres_url) as one, PostgresDatabase(postgres_url) as other:
        heard: asyncio.Queue[str] = asyncio.Queue()
        async with other.listening("mail", heard.put_nowait):
            one.notify("mail", "42")

            assert await heard.get() == "42"
