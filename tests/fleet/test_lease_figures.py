"""What becomes of the leases of a process is counted, and shown where its other figures are."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from fleet_house import WORKER, new_session, opened
from prometheus_client import CollectorRegistry, generate_latest
from test_fleet_commands import BOT

from ilink.errors import StoreError
from ilink.storage.keys import new_key
from ilink.storage.slots import LeaseTerms, Slots
from ilink.storage.slots_counted import CountedSlots, LeaseTally
from ilink.storage.slots_postgres import PostgresSlots
from ilink.telemetry.leases import show_leases

AT_ONCE = LeaseTerms(cool_down=0.0)


@pytest.fixture
async def slots(postgres_url: str) -> AsyncIterator[PostgresSlots]:
    async with opened(postgres_url) as database:
        yield PostgresSlots(database)


async def test_what_is_taken_given_and_kept_is_counted(slots: PostgresSlots) -> None:
    tally = LeaseTally()
    counted: Slots = CountedSlots(slots, tally)
    session = new_session()
    await counted.open_session(session, WORKER, ttl=60)
    taken = await counted.claim(session, limit=5, terms=AT_ONCE)
    assert await counted.renew(session, ttl=60, report={})
    assert await counted.release(session, taken[:2]) == 2
    assert (tally.held, tally.taken, tally.given, tally.renewals) == (3, 5, 2, 1)
    await counted.close_session(session)
    assert (tally.held, tally.given, tally.lost) == (0, 5, 0)


async def test_a_process_that_was_taken_for_dead_lost_what_it_had(slots: PostgresSlots) -> None:
    mine, others = LeaseTally(), LeaseTally()
    counted, heir = CountedSlots(slots, mine), CountedSlots(slots, others)
    session, other = new_session(), new_session()
    await counted.open_session(session, WORKER, ttl=60)
    await counted.claim(session, limit=5, terms=AT_ONCE)
    await counted.renew(session, ttl=-1, report={})
    assert await heir.reap() == 1
    await heir.open_session(other, WORKER, ttl=60)
    await heir.claim(other, limit=5, terms=AT_ONCE)
    assert not await counted.renew(session, ttl=60, report={})
    assert (mine.held, mine.lost, mine.deaths) == (0, 5, 1)
    assert (others.held, others.taken, others.reaped) == (5, 5, 1)


async def test_what_was_taken_without_an_answer_is_counted_when_it_is_found(slots: PostgresSlots) -> None:
    tally = LeaseTally()
    counted, session = CountedSlots(slots, tally), new_session()
    await counted.open_session(session, WORKER, ttl=60)
    await slots.claim(session, limit=5, terms=AT_ONCE)
    assert len(await counted.held(session)) == 5
    assert (tally.held, tally.taken) == (5, 5)


async def test_a_renewal_that_nobody_took_is_counted_as_such(postgres_url: str) -> None:
    tally = LeaseTally()
    async with opened(postgres_url) as database:
        counted = CountedSlots(PostgresSlots(database), tally)
    with pytest.raises(StoreError):
        await counted.renew(new_session(), ttl=60, report={})
    assert (tally.renewals, tally.failures, tally.deaths) == (0, 1, 0)


def test_all_of_it_is_shown() -> None:
    registry = CollectorRegistry()
    show_leases(LeaseTally(held=1, taken=2, given=3, lost=4, renewals=5, failures=6, deaths=7, reaped=8), registry)
    shown = generate_latest(registry).decode().splitlines()
    assert [line for line in shown if not line.startswith("#")] == [
        "ilink_slots 1.0",
        'ilink_slots_moved_total{how="taken"} 2.0',
        'ilink_slots_moved_total{how="given"} 3.0',
        'ilink_slots_moved_total{how="lost"} 4.0',
        'ilink_lease_renewals_total{outcome="renewed"} 5.0',
        'ilink_lease_renewals_total{outcome="failed"} 6.0',
        'ilink_lease_renewals_total{outcome="lost"} 7.0',
        "ilink_workers_reaped_total 8.0",
    ]


async def test_a_worker_shows_its_slots(postgres_url: str, tmp_path: Path) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text(BOT, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ilink", "run", str(bot), "--workers", "1", "--lease", "3"),
        *("--database-url", postgres_url, "--metrics-listen", "127.0.0.1:0"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ILINK_DATA": str(tmp_path), "ILINK_STORE_KEY": new_key()},
    )
    assert process.stderr is not None
    try:
        url = ""
        while not url:
            line = (await process.stderr.readline()).decode()
            assert line, "it has ended"
            url = line.rpartition(" ")[2].strip() if "metrics and health" in line else ""
        shown = ""
        async with aiohttp.ClientSession() as session, asyncio.timeout(40):
            while "ilink_slots 4096.0" not in shown:
                async with session.get(f"{url}/metrics") as answer:
                    shown = await answer.text()
                await asyncio.sleep(0.1)
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
