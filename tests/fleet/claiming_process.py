"""A process that takes and gives slots until it is told to end, or killed: `claiming_process.py URL SEED`."""

from __future__ import annotations

import asyncio
import sys
from random import Random
from uuid import uuid4

from fleet_house import FEW, TERMS, WORKER, opened

from ilink.storage.slots import SessionId
from ilink.storage.slots_postgres import PostgresSlots


async def main(url: str, seed: int) -> None:
    random = Random(seed)
    over = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
    async with opened(url) as database:
        slots = PostgresSlots(database)
        while not over.done():
            me = SessionId(uuid4())
            await slots.open_session(me, WORKER, ttl=0.2)
            for _ in range(random.randrange(2, 8)):
                await slots.claim(me, limit=random.randrange(1, FEW), terms=TERMS)
                await asyncio.sleep(random.random() * 0.05)
                held = await slots.held(me)
                await slots.release(me, random.sample(held, len(held) // 2))
                await slots.renew(me, ttl=0.2, report={})
            if random.random() < 0.5:
                await slots.close_session(me)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
