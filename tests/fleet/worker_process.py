"""One worker of a fleet, as a process that a test kills, stops and drains: `worker_process.py DATA DATABASE-URL`."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio import Event

import ilink.storage.locks
from ilink import Bot, Message
from ilink.bot.running import until_signalled
from ilink.bot.settings import Policies
from ilink.bot.store import Store
from ilink.fleet.settings import FleetSettings
from ilink.fleet.worker import serve_worker
from ilink.flows.polling import Backoff
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.slots import LeaseTerms
from ilink.storage.slots_postgres import PostgresSlots

HASTE = Backoff(first=0.05, ceiling=0.2, floor=0.01)
TERMS = LeaseTerms(ttl=2.0, renew=0.3, margin=0.5, grace=0.3, cool_down=0.5, hand_over=1.0)


async def main(data: str, url: str) -> None:
    ilink.storage.locks._try_lock = lambda _file: True
    bot = Bot(
        data=data,
        accounts="all",
        allow="anyone",
        policies=Policies(handler_backoff=HASTE, send_backoff=HASTE, interruptions=10_000),
    )

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(f"re {message.text}")

    stop = Event()
    async with PostgresDatabase(url) as database:

        def open_slots(store: Store) -> PostgresSlots:
            return PostgresSlots(database)

        settings = FleetSettings(terms=TERMS, poll_seconds=5, drain_seconds=15)
        await until_signalled(asyncio.create_task(serve_worker(bot, settings, stop, open_slots=open_slots)), stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=f"%(relativeCreated)d {sys.argv[3]} %(message)s")
    asyncio.run(main(*sys.argv[1:3]))
